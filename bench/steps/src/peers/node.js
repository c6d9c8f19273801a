// The same work by Node's promises.
//
//   node node.js once NAME TIMES      does it once
//   node node.js serve                does what each line of its input asks for, 'NAME TIMES', and
//                                     answers with the nanoseconds it took all threads of the process
"use strict";

const works = {
  async ten(times) {
    for (let n = 0; n < times; n++) {
      let fire;
      const start = new Promise((resolve) => (fire = resolve));
      const end = tenMore(start);
      fire(1);
      await end;
    }
  },

  async ready(times) {
    for (let n = 0; n < times; n++) {
      await tenMore(Promise.resolve(1));
    }
  },

  async loop(levels) {
    const end = level(levels);
    while (slot !== null) {
      const fire = slot;
      slot = null;
      fire(1);
      // Lets the step run that makes the next level.
      await null;
    }
    await end;
  },

  async "loop-ready"(levels) {
    await readyLevel(levels);
  },

  async spawn(times) {
    for (let n = 0; n < times; n++) {
      let fire;
      const gate = new Promise((resolve) => (fire = resolve));
      const task = (async () => (await gate) + 1)();
      fire(1);
      await task;
    }
  },
};

function tenMore(start) {
  return start
    .then((value) => value + 1)
    .then((value) => value + 2)
    .then((value) => value + 3)
    .then((value) => value + 4)
    .then((value) => value + 5)
    .then((value) => value + 6)
    .then((value) => value + 7)
    .then((value) => value + 8)
    .then((value) => value + 9)
    .then((value) => value + 10);
}

// Where a pending level leaves what fires it.
let slot = null;

function level(left) {
  const fired = new Promise((resolve) => (slot = resolve));
  return fired.then((value) => (left <= 1 ? value : level(left - 1)));
}

function readyLevel(left) {
  return Promise.resolve(1).then((value) => (left <= 1 ? value : readyLevel(left - 1)));
}

async function serve() {
  console.log(`${process.version.slice(1)} ${process.execPath}`);
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [name, times] = line.split(" ");
    const start = process.cpuUsage();
    await works[name](Number(times));
    const { user, system } = process.cpuUsage(start);
    console.log((user + system) * 1000);
  }
}

const [order, name, times] = process.argv.slice(2);
if (order === "serve") serve();
else works[name](Number(times));
