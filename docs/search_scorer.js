// The order of what the site's search finds, from the highest score to the lowest. Pages come
// before the reference, those of the user guide first among equals. An entry of the reference
// comes before all if its very name was typed and is no plain word: `WarmupCosineLR`, not `resume`.
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
    if (page.startsWith("docs/api/")) {
      const isPlainWord = !/_|[A-Z].*[A-Z]/.test(name.split(".").pop());
      return score < TYPED || isPlainWord ? score - 2 * TYPED : score;
    }
    return page.startsWith("docs/en/user_guides/") ? score + 3 : score;
  },
};
