// Open pages in Chromium and say what it and axe-core find: [{file, width, scheme, media}] on standard input → JSON.
const { chromium } = require('playwright-core');
const axe = require('axe-core');

async function look(browser, job) {
  const page = await browser.newPage({ viewport: { width: job.width, height: 900 }, colorScheme: job.scheme });
  const found = { said: [], asked: [] };
  page.on('console', (message) => found.said.push(message.text()));
  page.on('pageerror', (error) => found.said.push(String(error)));
  page.on('dialog', (dialog) => { found.said.push('a dialog'); dialog.dismiss(); });
  page.on('request', (request) => found.asked.push(request.url()));
  await page.emulateMedia({ media: job.media || 'screen', colorScheme: job.scheme });
  await page.goto('file://' + job.file);
  for (const each of await page.$$('details')) await each.evaluate((node) => { node.open = true; });
  found.over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  found.ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  found.columns = await page.$$eval('.card', (all) => {
    const tops = all.map((each) => Math.round(each.getBoundingClientRect().top));
    return Math.max(0, ...tops.map((top) => tops.filter((each) => each === top).length));
  });
  // A word that stands letter beneath letter, in a column without room.
  found.thin = await page.$$eval('th, td, dd', (all) => all.filter((each) =>
    each.innerText.length > 4 && each.clientWidth < 45 && each.clientHeight > 90).map((each) => each.innerText.slice(0, 60)));
  found.headline = await page.$$eval('.headline div', (all) => Object.fromEntries(all.map((each) =>
    [each.querySelector('dt').innerText, each.querySelector('dd').firstChild.textContent.trim()])));
  found.scripts = await page.evaluate(() => document.scripts.length);
  found.cut = await page.$$eval('th, td, h2, dd, .said', (all) => all.filter((each) =>
    each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === 'visible' && each.clientWidth)
    .map((each) => each.innerText.slice(0, 60)));
  if (job.picture) await page.screenshot({ path: job.picture, fullPage: true });
  if (job.axe) {
    // In a world of its own: the page's policy lets no script in.
    const session = await page.context().newCDPSession(page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id });
    const ask = (expression) => session.send('Runtime.evaluate',
      { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    await ask(axe.source);
    const { result, exceptionDetails } = await ask('axe.run(document, { resultTypes: ["violations"] })');
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    found.faults = result.value.violations.map((each) =>
      ({ id: each.id, impact: each.impact, where: each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)) }));
    found.checked = result.value.testEngine.version;
  }
  await page.close();
  return found;
}

(async () => {
  const jobs = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
  const found = [];
  for (const job of jobs) found.push(await look(browser, job));
  await browser.close();
  console.log(JSON.stringify(found));
})();
