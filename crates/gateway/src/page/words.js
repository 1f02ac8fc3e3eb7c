// Numbers and times as people read them.

const grouped = new Intl.NumberFormat("en");

export const count = (number) => grouped.format(Math.round(number));

export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** A lag, in the unit that says something. */
export function lag(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 100 ? `${seconds.toFixed(1)} s` : span(seconds);
}

/** A rate a second. */
export const rate = (number) =>
  number === null || number === undefined ? "–" : number < 10 ? String(+number.toFixed(1)) : count(number);

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** An amount of data. */
export function bytes(number) {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${+(number / 1000 ** unit).toFixed(1)} ${UNITS[unit]}`;
}

/** A length of time, roughly. */
export function span(seconds) {
  const left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  if (left < 3600) return `${Math.floor(left / 60)} min ${left % 60} s`;
  if (left < 86400) return `${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min`;
  return many(Math.floor(left / 86400), "day");
}

const two = (number) => String(number).padStart(2, "0");

/** The time of day, of the reader's clock. */
export function clock(millis) {
  const time = new Date(millis);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
}

/** Day and time, of the reader's clock. */
export function day(millis) {
  const time = new Date(millis);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}
