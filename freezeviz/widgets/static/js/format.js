// @ts-check
/** Numbers that read well. Pure functions. */

/** 8320 -> "8,320"; 25600000 -> "25.6 M". @param {number} n */
export function formatCount(n) {
  if (n < 1e6) return n.toLocaleString("en-US");
  const [unit, by] = n < 1e9 ? ["M", 1e6] : ["B", 1e9];
  return `${(n / by).toPrecision(3)} ${unit}`;
}

/** 0.9612 -> "96.1 %", with a space that does not break. @param {number | null} value */
export function formatShare(value) {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : `${(100 * value).toFixed(1)}\u00a0%`;
}

/** 33280 -> "33.3 kB". @param {number} n */
export function formatBytes(n) {
  if (!Number.isFinite(n)) return "";
  if (n < 1000) return `${n} B`;
  const k = Math.min(4, Math.floor(Math.log10(n) / 3));
  return `${(n / 10 ** (3 * k)).toPrecision(3)} ${["", "kB", "MB", "GB", "TB"][k]}`;
}

/** A measured number with three digits, or nothing where unknown. @param {number} value */
export function formatMeasure(value) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return "∞";
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size < 1e-2 || size >= 1e4 ? value.toExponential(1).replace("e+", "e") : value.toPrecision(3);
}

/** "1 row", "2 rows". @param {number} n @param {string} one @param {string} [many] */
export function counted(n, one, many = `${one}s`) {
  return `${formatCount(n)} ${n === 1 ? one : many}`;
}

/** A path as people call it. @param {string} path */
export function nameOf(path) {
  return path || "the model";
}
