// All extensions share one process. Whatever connects there ends in one of these methods of Node.js: `fetch`, `http`,
// `https` and `tls` too. One line of JSON for each call: where it leads, and the stack of who asked.
const dgram = require('node:dgram');
const { appendFileSync } = require('node:fs');
const net = require('node:net');

function watch(prototype, name) {
  const original = prototype[name];
  prototype[name] = function (...args) {
    const [first] = args.flat();
    const { path, host, port } = typeof first === 'object' && first !== null ? first : { port: first };
    const call = { name, path, host, port: Number(port), stack: new Error().stack };
    appendFileSync(process.env.WITNESS_JOURNAL, `${JSON.stringify(call)}\n`);
    return original.apply(this, args);
  };
}

exports.activate = async () => {
  watch(net.Socket.prototype, 'connect');
  watch(dgram.Socket.prototype, 'connect');
  watch(dgram.Socket.prototype, 'send');
  // One that is sure: who does not see it sees nothing.
  await fetch(`http://127.0.0.1:${process.env.WITNESS_PORT}`).catch(() => undefined);
};
