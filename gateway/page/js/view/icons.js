// Line icons on a grid of 24.

const PATHS = {
  alert: "M12 8v5m0 3.2v.3M12 3.5 2.8 19.5h18.4z",
  back: "M15 5l-7 7 7 7",
  bell: "M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 2h-15zM10 21h4M12 5V3",
  block: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM6 6l12 12",
  broken: "M4 4l16 16M9.5 5.2A14 14 0 0 1 21 9M3 9a14 14 0 0 1 3.2-2M6.5 12.6a9 9 0 0 1 3-1.8m5.2.3a9 9 0 0 1 2.8 1.5M12 18.5v.2",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zm0 3.5V12l3 2",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14m-6-6l6 6 6-6",
  edit: "M4.5 19.5l.9-4L16 4.9a1.6 1.6 0 0 1 2.3 0l.8.8a1.6 1.6 0 0 1 0 2.3L8.5 18.6zM14 7l3 3",
  leave: "M14 4h5v16h-5M10 8l-4 4 4 4m-4-4h9",
  muted: "M4 4l16 16M8.2 6.4A6 6 0 0 1 18 11v4M6.2 9.5A6 6 0 0 0 6 11v5.5l-1.5 2H18M10 21h4M12 5V3",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zm-6 9a6 6 0 0 1 12 0m1-9a3 3 0 1 0-1-5.8M21 20a5.5 5.5 0 0 0-4-5.3",
  plus: "M12 5v14M5 12h14",
  read: "M2.5 12.5l4 4L15 8m-3.5 8l.6.5L21 8",
  receipts: "M2.5 12.5l4 4L15 8m-3.5 8l.6.5L21 8",
  remove: "M5 7h14M10 7V4.5h4V7m-7.5 0l.8 12.5h9.4L17.5 7M10.5 11v5m3-5v5",
  reply: "M9.5 6L4 11.5 9.5 17M4.5 11.5H14a6 6 0 0 1 6 6v1",
  scissors: "M6.5 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zm0 11a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM8.6 7.8L20 17.5M8.6 16.2L20 6.5",
  send: "M4.5 12L20 4.5 15.5 20l-3.6-6.2zM20 4.5l-8.1 9.3",
  sent: "M5 12.5l4.5 4.5L19 7.5",
  smile: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM8.5 14a4 4 0 0 0 7 0M9 9.5v.6m6-.6v.6",
  twice: "M8.5 8.5h11v11h-11zM15.5 8.5v-4h-11v11h4",
  wave: "M2.5 12h4l2.5-7 5 14 2.8-7h4.7",
};

/** An icon; what it stands for is said beside it, in words. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
