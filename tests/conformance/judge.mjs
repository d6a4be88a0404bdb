// Compares the results of the conformance kit with the list of what is not expected to pass yet.
//
//     node judge.mjs LATER SCENARIOS RESULTS
//
// SCENARIOS is what the kit says it has: one of them that did not run is a failure, too.
import { readFileSync } from 'node:fs'

const [laterFile, scenariosFile, resultsFile] = process.argv.slice(2)
const lines = (file) => readFileSync(file, 'utf8').split('\n').filter((line) => line.trim() && !line.startsWith('#'))
const idOf = (line) => line.split(/\s+/, 1)[0]
const later = new Map(lines(laterFile).map((line) => [idOf(line), line.replace(/^\S+\s*/, '')]))
const areaOf = (id) => id.replace(/\/.*/, '/*')
const scenarios = lines(scenariosFile).map(idOf)

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

const ran = new Set(results.map(({ id }) => id))
const areas = new Map()
for (const id of scenarios.filter((id) => !ran.has(id))) {
  const area = areaOf(id)
  if (later.has(area)) {
    counts.later += 1
    areas.set(area, (areas.get(area) ?? 0) + 1)
  } else {
    counts.failed += 1
    console.log(`FAIL ${id}\n      it did not run`)
  }
}
for (const [area, count] of areas) console.log(`later: ${area} (${count}): ${later.get(area)}`)

const known = new Set(scenarios.flatMap((id) => [id, areaOf(id)]))
const unknown = [...later.keys()].filter((id) => !known.has(id))
if (unknown.length) console.log(`in later.txt, but not in the kit: ${unknown.join(', ')}`)
console.log(`${counts.later} for later`)
console.log(`${counts.passed} passed, ${counts.failed + unknown.length} failed`)
process.exit(counts.failed + unknown.length === 0 && counts.passed > 0 ? 0 : 1)
