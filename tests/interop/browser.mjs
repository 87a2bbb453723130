// Drives Chromium by the steps of a JSON file, and prints what it saw, one JSON text a line.
//
// node browser.mjs PLAYWRIGHT STEPS: each step is {page, file} for a form that is filled in and sent, or {visit}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [playwright, file] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
const { token, executable, steps } = JSON.parse(readFileSync(file, "utf8"));

const browser = await chromium.launch({
  executablePath: executable,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const context = await browser.newContext({ extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
  for (const step of steps) {
    const page = await context.newPage();
    const errors = [];
    page.on("console", (message) => errors.push(message.text()));
    let response;
    if (step.file) {
      await page.goto(step.page);
      await page.setInputFiles("input[type=file]", step.file);
      [response] = await Promise.all([page.waitForNavigation(), page.click("button")]);
    } else {
      response = await page.goto(step.visit);
      // What a script would do, it would have done by then.
      await page.waitForTimeout(300);
    }
    const seen = {
      url: page.url(),
      status: response.status(),
      type: response.headers()["content-type"],
      // What the window is called, if something could give it a name.
      title: await page.title(),
      text: await page.evaluate(() => document.documentElement.textContent),
      root: await page.evaluate(() => document.documentElement.nodeName.toLowerCase()),
      origin: await page.evaluate(() => self.origin),
      marks: await page.evaluate(() => document.documentElement.getAttribute("data-ran")),
      width: await page.evaluate(() => document.images[0]?.naturalWidth ?? null),
      errors,
    };
    console.log(JSON.stringify(seen));
    await page.close();
  }
} finally {
  await browser.close();
}
