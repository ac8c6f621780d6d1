// The order of what the site's search finds, from the highest score to the lowest: pages come
// before the reference, except for an entry whose very name was typed, such as `WarmupCosineLR`
// or `mask_ratio`. A name that is a plain word, such as `resume`, is looked for as a word.
const TYPED = 1000;

var Scorer = {
  objNameMatch: TYPED, // the query is the whole name, or what follows its last dot
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([page, name, , , score]) => {
    const isName = score >= TYPED && /[A-Z_]/.test(name.split(".").pop());
    return page.startsWith("docs/api/") && !isName ? score - 2 * TYPED : score;
  },
};
