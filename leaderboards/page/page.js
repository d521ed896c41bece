// Light and dark, before anything is painted.
"use strict";
const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  get chosen() {
    try { return localStorage.getItem("rewardkit-theme"); } catch { return null; }
  },
  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : this.system.matches;
  },
  choose(name) {
    document.documentElement.dataset.theme = name;
    // Some browsers have no storage for pages of the file system; then the choice ends with the page.
    try { localStorage.setItem("rewardkit-theme", name); } catch { /* shown all the same */ }
    this.tell();
  },
  tell() {
    const button = document.getElementById("theme");
    button.textContent = this.dark ? "Light" : "Dark";
    button.setAttribute("aria-label", this.dark ? "Switch to light" : "Switch to dark");
    button.hidden = false;
    document.dispatchEvent(new Event("theme"));
  },
};
if (theme.chosen === "dark" || theme.chosen === "light") {
  document.documentElement.dataset.theme = theme.chosen;
}

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    theme.choose(theme.dark ? "light" : "dark");
  });
  theme.system.addEventListener("change", () => theme.tell());
  theme.tell();

  // Controls that only scripts can serve are shown where scripts run.
  for (const controls of document.querySelectorAll(".controls")) controls.hidden = false;

  const drawer = document.getElementById("drawer");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-details]");
    if (!button) return;
    const details = document.getElementById(button.dataset.details).content.cloneNode(true);
    document.getElementById("drawer-title").textContent = button.textContent;
    const body = document.getElementById("drawer-body");
    body.replaceChildren(details);
    drawer.showModal();
    body.scrollTop = 0;
  });
  document.getElementById("close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => {
    if (event.target === drawer) drawer.close();
  });

  for (const select of document.querySelectorAll("[data-tasks]")) {
    const choose = () => {
      for (const comparison of select.closest(".gallery").querySelectorAll(".comparison")) {
        comparison.hidden = select.value !== "" && comparison.dataset.task !== select.value;
      }
    };
    select.addEventListener("change", choose);
    choose();
  }
  // Small pictures and clips are enlarged without blur.
  const sharpen = (shown, image) => {
    const toggle = () => shown.classList.toggle("small", image.naturalWidth < 96);
    if (image.complete) toggle();
    else image.addEventListener("load", toggle);
  };
  for (const image of document.querySelectorAll(".comparison img")) sharpen(image, image);
  for (const video of document.querySelectorAll(".comparison video")) {
    const poster = new Image();
    poster.src = video.poster;
    sharpen(video, poster);
  }

  // The clips of a comparison play together: under the mouse, or after a tap or the button.
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  for (const comparison of document.querySelectorAll(".comparison:has(video)")) {
    const videos = [...comparison.querySelectorAll("video")];
    const button = comparison.querySelector("[data-play]");
    const play = (playing) => {
      button.textContent = playing ? "Pause" : "Play";
      for (const video of videos) {
        // A browser that cannot decode a clip goes on showing its poster.
        if (playing) video.play().catch(() => {});
        else video.pause();
      }
    };
    const playing = () => button.textContent === "Pause";
    button.addEventListener("click", () => play(!playing()));
    for (const video of videos) {
      video.controls = false; // those of browsers without scripts
      video.addEventListener("click", () => play(!playing()));
    }
    const row = comparison.querySelector("ul");
    row.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse" && !still.matches) play(true);
    });
    row.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !still.matches) play(false);
    });
  }
});
