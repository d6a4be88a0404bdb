// Compares the results of the conformance kit with the list of what is not expected to pass yet.
import { readFileSync } from 'node:fs'

const [listFile, resultsFile] = process.argv.slice(2)
const later = new Map(readFileSync(listFile, 'utf8').split('\n')
  .filter((line) => line.trim() && !line.startsWith('#'))
  .map((line) => [line.split(/\s+/, 1)[0], line.replace(/^\S+\s*/, '')]))
const text = readFileSync(resultsFile, 'utf8')
const end = text.lastIndexOf('}')
if (end < 0) throw new Error(`the kit gave no results: ${text}`)
const { results } = JSON.parse(text.slice(text.indexOf('{'), end + 1))

const counts = { passed: 0, failed: 0, later: 0 }
for (const { id, ok, problems } of results) {
  if (ok) {
    counts.passed += 1
    if (later.has(id)) console.log(`passes now: ${id} (take it off later.txt)`)
  } else if (later.has(id)) {
    counts.later += 1
    console.log(`later: ${id}: ${later.get(id)}`)
  } else {
    counts.failed += 1
    console.log([`FAIL ${id}`, ...problems.flatMap((problem) => problem.split('\n'))].join('\n      '))
  }
}
const ids = new Set(results.map(({ id }) => id))
const unknown = [...later.keys()].filter((id) => !ids.has(id))
if (unknown.length) console.log(`in later.txt, but not in the kit: ${unknown.join(', ')}`)
console.log(`${counts.later} for later`)
console.log(`${counts.passed} passed, ${counts.failed + unknown.length} failed`)
process.exit(counts.failed + unknown.length === 0 && counts.passed > 0 ? 0 : 1)
