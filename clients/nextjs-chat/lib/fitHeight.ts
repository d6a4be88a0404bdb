/** Makes an input as high as its text; the style sheet says how high at most. */
export function fitHeight(input: HTMLTextAreaElement): void {
  input.style.height = 'auto'
  input.style.height = `${input.scrollHeight}px`
}
