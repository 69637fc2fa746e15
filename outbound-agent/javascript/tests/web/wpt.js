// The data of the Web Platform Tests for URLs: how many of its rows come out as they should.
import { parsing, setting } from './data.js';

const passes = (run) => {
  try {
    return run();
  } catch {
    return false;
  }
};
const agrees = (url, expected) => Object.keys(expected).every((part) => !(part in url) || url[part] === expected[part]);

export default {
  fetch() {
    const parsed = parsing.filter(({ input, base, failure, ...expected }) => {
      if (!failure) return passes(() => agrees(new URL(input, base ?? undefined), expected));
      return passes(() => !URL.canParse(input, base ?? undefined));
    });
    let set = 0;
    for (const part of Object.keys(setting)) {
      for (const { href, new_value, expected } of setting[part]) {
        const right = passes(() => {
          const url = new URL(href);
          passes(() => (url[part] = new_value));
          return agrees(url, expected);
        });
        if (right) set++;
      }
    }
    return Response.json({ parsed: parsed.length, set });
  },
};
