"use strict";
// Everything here adds to a page that is whole without it: sorting, pointing at figures, playing notes.
(() => {
  // Tables: a button in each heading sorts by that column, numbers by value.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => {
          const cell = row.cells[column];
          return cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
        };
        const compare = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (typeof x === "number" && typeof y === "number") return x - y;
          if (typeof x === "number") return -1;
          if (typeof y === "number") return 1;
          return x.localeCompare(y, "en", { numeric: true });
        };
        const rows = [...body.rows].sort(compare);
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }

  // Sound: a soft synthetic tone for each note, made in the page.
  let audio = null;
  const sound = () => {
    audio = audio || new (window.AudioContext || window.webkitAudioContext)();
    if (audio.state === "suspended") audio.resume();
    return audio;
  };
  const tone = (context, output, pitch, start, length, loudness) => {
    const end = start + Math.max(length, 0.08);
    const gain = context.createGain();
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(loudness, start + 0.012);
    gain.gain.exponentialRampToValueAtTime(loudness * 0.35, Math.max(end, start + 0.05));
    gain.gain.linearRampToValueAtTime(0, end + 0.09);
    const oscillator = context.createOscillator();
    oscillator.type = "triangle";
    oscillator.frequency.value = 440 * Math.pow(2, (pitch - 69) / 12);
    oscillator.connect(gain).connect(output);
    oscillator.start(start);
    oscillator.stop(end + 0.1);
    return oscillator;
  };

  // Piano rolls: a place for each of the first notes, made from what the player plays.
  const SVG = "http://www.w3.org/2000/svg";
  const NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
  const notesOf = (button) => JSON.parse(document.getElementById(button.dataset.notes).textContent);
  const players = [...document.querySelectorAll("button.play")];
  for (const button of players) {
    const drawing = button.closest("figure").querySelector("svg");
    const [left, right, top, bottom, seconds, low, high] = button.dataset.panel.split(" ").map(Number);
    const group = document.createElementNS(SVG, "g");
    for (const [onset, length, pitch] of notesOf(button).slice(0, 400).filter(([onset]) => onset < seconds)) {
      const spot = document.createElementNS(SVG, "circle");
      spot.setAttribute("class", "spot");
      spot.setAttribute("cx", left + ((right - left) * (onset + length / 2)) / seconds);
      spot.setAttribute("cy", bottom - ((bottom - top) * (pitch - low + 0.5)) / (high - low + 1));
      spot.setAttribute("r", 10);
      spot.dataset.pitch = pitch;
      const title = document.createElementNS(SVG, "title");
      title.textContent = NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1) + " at " + onset + " s for " + length + " s";
      spot.append(title);
      group.append(spot);
    }
    if (group.firstChild) group.firstChild.setAttribute("tabindex", "0");
    drawing.append(group);
  }

  // Figures: what a place tells is shown below; arrow keys move from place to place; Enter or a click plays its note.
  for (const figure of document.querySelectorAll("figure")) {
    const spots = [...figure.querySelectorAll(".spot")];
    const tip = figure.querySelector(".tip");
    if (!spots.length || !tip) continue;
    const show = (spot) => { tip.textContent = spot.querySelector("title").textContent.split("\n").join(" · "); };
    const play = (spot) => {
      if (spot.dataset.pitch === undefined) return;
      const context = sound();
      tone(context, context.destination, Number(spot.dataset.pitch), context.currentTime + 0.02, 0.6, 0.25);
    };
    spots.slice(1).forEach((spot) => spot.setAttribute("tabindex", "-1"));
    const focus = (index) => {
      const next = spots[(index + spots.length) % spots.length];
      spots.forEach((spot) => spot.setAttribute("tabindex", spot === next ? "0" : "-1"));
      next.focus();
    };
    spots.forEach((spot, index) => {
      spot.addEventListener("pointerenter", () => show(spot));
      spot.addEventListener("focus", () => show(spot));
      spot.addEventListener("click", () => { show(spot); play(spot); });
      spot.addEventListener("keydown", (event) => {
        if (event.key === "ArrowRight" || event.key === "ArrowDown") { event.preventDefault(); focus(index + 1); }
        if (event.key === "ArrowLeft" || event.key === "ArrowUp") { event.preventDefault(); focus(index - 1); }
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); play(spot); }
      });
    });
  }

  // Samples: one plays at a time; a line moves through its piano roll.
  let playing = null;
  const stop = () => {
    if (!playing) return;
    playing.voices.forEach((voice) => { try { voice.stop(); } catch (error) { /* It has ended already. */ } });
    playing.output.disconnect();
    playing.button.textContent = "Play";
    playing.head.remove();
    cancelAnimationFrame(playing.frame);
    playing = null;
  };
  for (const button of players) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const again = playing && playing.button === button;
      stop();
      if (again) return;
      const notes = notesOf(button);
      const context = sound();
      const output = context.createDynamicsCompressor();
      output.connect(context.destination);
      const begin = context.currentTime + 0.1;
      // Where more than 20 notes sound at once, each is softer: together they would clip before the compressor notices.
      const sounding = (now) => notes.filter(([onset, length]) => onset <= now && now < onset + length).length;
      const most = notes.reduce((most, [onset]) => Math.max(most, sounding(onset)), 1);
      const loudness = 0.12 * Math.min(1, 20 / most);
      const voices = notes.map(([onset, length, pitch]) => tone(context, output, pitch, begin + onset, length, loudness));
      const end = notes.reduce((latest, [onset, length]) => Math.max(latest, onset + length), 0);
      const drawing = button.closest("figure").querySelector("svg");
      const head = document.createElementNS(SVG, "line");
      const [left, right, top, bottom, seconds] = button.dataset.panel.split(" ").map(Number);
      head.setAttribute("y1", top); head.setAttribute("y2", bottom);
      head.setAttribute("stroke", "#D55E00"); head.setAttribute("stroke-width", "4");
      drawing.append(head);
      button.textContent = "Stop";
      playing = { button, voices, output, head, frame: 0 };
      const move = () => {
        if (!playing || playing.button !== button) return;
        const now = context.currentTime - begin;
        const x = left + (right - left) * Math.min(Math.max(now, 0) / seconds, 1);
        head.setAttribute("x1", x); head.setAttribute("x2", x);
        if (now > end + 0.3) { stop(); return; }
        playing.frame = requestAnimationFrame(move);
      };
      move();
    });
  }
})();
