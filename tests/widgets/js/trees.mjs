// Small trees for the tests of several modules.
import { buildTree } from "../../../freezeviz/widgets/static/js/tree.js";

/** A tree of [level, label, flags, kind]. */
export function tree(nodes, counts = {}, aliases = {}) {
  const kinds = [...new Set(nodes.map((n) => n[3] ?? "K"))];
  const stack = [];
  const parents = nodes.map(([level], i) => {
    stack.length = level;
    const parent = stack.at(-1) ?? -1;
    stack.push(i);
    return parent;
  });
  return buildTree({
    version: 1,
    labels: nodes.map((n) => n[1]),
    parents,
    kinds,
    kind_of: nodes.map((n) => kinds.indexOf(n[3] ?? "K")),
    details: [""],
    detail_of: nodes.map(() => 0),
    counts: nodes.map((_, i) => counts[i] ?? 0),
    flags: nodes.map((n) => n[2] ?? 0),
    aliases,
  });
}

export const small = tree([
  [0, "net"],
  [1, "a"],
  [2, "w", 1],
  [2, "b", 1],
  [1, "c"],
  [1, "d"],
  [2, "w", 1],
]);
