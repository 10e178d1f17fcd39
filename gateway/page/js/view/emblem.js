// Thirty birds that are, together, the Simurgh.

const NS = "http://www.w3.org/2000/svg";
/** A bird seen from afar: two wings and a small body, its head up. */
const BIRD = "M0-2.6C-2.4-6.6-6.6-7.6-11-5.2-7.4-4.6-4-2.4-1.6 1.6L0 5 1.6 1.6C4-2.4 7.4-4.6 11-5.2 6.6-7.6 2.4-6.6 0-2.6z";

/** `[x, y, turn in degrees, scale]` of each: four rows of feathers a wing, then neck, head and tail. */
function flock() {
  const birds = [];
  const rows = [{ count: 6, reach: 96, rise: 46, at: -4 }, { count: 4, reach: 66, rise: 24, at: 14 }, { count: 2, reach: 36, rise: 6, at: 30 }];
  for (const side of [-1, 1]) {
    for (const { count, reach, rise, at } of rows) {
      for (let n = 1; n <= count; n += 1) {
        const t = n / count;
        const far = (t * reach) / 96;
        // A wing that is raised and droops at its tip.
        const y = at - rise * Math.sin(t * 2.2) + 14 * far * far;
        birds.push([side * (8 + t * reach), y, side * (6 + 40 * far), 1.2 - 0.42 * far]);
      }
    }
  }
  birds.push([0, -34, 0, 1], [0, -16, 0, 1.3], [0, 6, 0, 1.5]);
  birds.push([0, 30, 0, 1.15], [-13, 50, 18, 0.95], [13, 50, -18, 0.95]);
  return birds;
}

/** The bird of thirty birds, as an svg element of class `emblem`. */
export function emblem() {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "-120 -62 240 132");
  svg.setAttribute("class", "emblem");
  svg.setAttribute("aria-hidden", "true");
  flock().forEach(([x, y, turn, scale], n) => {
    const place = document.createElementNS(NS, "g");
    place.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${turn.toFixed(1)}) scale(${scale.toFixed(2)})`);
    const bird = document.createElementNS(NS, "path");
    bird.setAttribute("d", BIRD);
    bird.style.setProperty("--n", n);
    bird.style.setProperty("--out", (Math.abs(x) / 101).toFixed(2));
    place.append(bird);
    svg.append(place);
  });
  return svg;
}
