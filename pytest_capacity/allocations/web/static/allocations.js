// The page is made by the server; this puts a new one in its place every few seconds, unless it is not looked at.
"use strict";

const PERIOD_MS = 3000;

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (fresh) document.getElementById("live").replaceWith(document.importNode(fresh, true));
    document.body.classList.remove("stale");
  } catch (error) {
    document.body.classList.add("stale"); // The server has ended: what is shown is no longer the present.
  }
}

setInterval(refresh, PERIOD_MS);
