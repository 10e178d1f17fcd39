// Chance from a seed, so that what was drawn can be drawn again.

/** A generator (mulberry32): the same draws for the same seed. */
export class Chance {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** True once in `1 / share` times. */
  happens(share) {
    return this.next() < share;
  }

  between(least, most) {
    return least + this.next() * (most - least);
  }

  /** A whole number from 0 up to, not including, `count`. */
  below(count) {
    return Math.floor(this.next() * count);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  shuffled(list) {
    const mixed = [...list];
    for (let at = mixed.length - 1; at > 0; at -= 1) {
      const other = this.below(at + 1);
      [mixed[at], mixed[other]] = [mixed[other], mixed[at]];
    }
    return mixed;
  }

  /** A generator of its own, whose draws do not depend on how many others draw. */
  fork() {
    return new Chance(Math.floor(this.next() * 2 ** 32));
  }
}
