// SPDX-License-Identifier: MIT
// Workload of bench/real/node: JSON and object churn, buffers, code compiled at run time, deflate on the thread pool.
'use strict';
const { createHash } = require('crypto');
const { promisify } = require('util');
const zlib = require('zlib');

let seed = 1;
const below = (limit) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % limit;
};
const show = (name, value) => console.log(name, createHash('sha256').update(value).digest('hex').slice(0, 16));

function records(nr) {
    return Array.from({ length: nr }, (_, i) => ({
        id: i, name: `name ${below(nr)} `.repeat(below(20)), list: Array.from({ length: below(12) }, (_, j) => i * j),
        more: { deep: `value ${i}`, flag: i % 2 === 0 },
    }));
}

function objects() {
    const counts = new Map();
    let text = '';
    for (let turn = 0; turn < 8; turn++) {
        text = JSON.stringify(records(8000));
        for (const { name } of JSON.parse(text)) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    show('objects', text + [...counts].sort().join());
    return text;
}

// Each buffer is one calloc or malloc, freed when the collector finds it dead.
function buffers(live, rounds) {
    const kept = new Array(live).fill(null);
    const hash = createHash('sha256');
    for (let i = 0; i < rounds; i++) kept[below(live)] = Buffer.allocUnsafeSlow(100 + below(12000)).fill(i & 255);
    for (const buffer of kept) if (buffer !== null) hash.update(buffer);
    console.log('buffers', hash.digest('hex').slice(0, 16));
}

function compile(nr) {
    let sum = 0;
    for (let i = 0; i < nr; i++) {
        const lines = Array.from({ length: 40 }, (_, j) => `let v${j} = x * ${i} + ${j}; if (v${j} % 3 === 0) s += v${j};`);
        sum = (sum + new Function('x', `let s = 0; ${lines.join('\n')} return s;`)(i % 17)) % 1000003;
    }
    console.log('compile', sum);
}

async function pack(text) {
    const deflate = promisify(zlib.deflate);
    const pieces = Array.from({ length: 200 }, (_, i) => text.slice(i * 4000, i * 4000 + 30000));
    const packed = await Promise.all(pieces.map((piece) => deflate(piece, { level: 3 })));
    show('pack', Buffer.concat(packed.map((piece) => zlib.inflateSync(piece))));
}

const text = objects();
buffers(3000, 100000);
compile(1500);
pack(text);
