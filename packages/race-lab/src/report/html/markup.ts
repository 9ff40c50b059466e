/** Markup that may be put into a page as it is. Made by `html` alone. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template; nothing is shown for null. */
export type Content = Markup | string | number | null | readonly Content[];

/**
 * A template whose values are data: whatever is no `Markup` is escaped, for text as for a quoted attribute. An attribute must be
 * quoted in the template; inside of `<style>` there is no data.
 */
export function html(template: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  const parts = template.map((text, index) => text + textOf(contents[index] ?? null));
  return new Markup(parts.join(''));
}

function textOf(content: Content): string {
  if (content === null) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'object') return content.map(textOf).join('');
  return String(content).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
