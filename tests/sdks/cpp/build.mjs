// Compiles plugin.cc: `node build.mjs <bundle of the compiler> <folder of the sources> <module>`.
import { readFileSync, writeFileSync } from 'node:fs';

const [bundle, folder, module] = process.argv.slice(2);
const { runClang } = await import(bundle);
const sources = Object.fromEntries(['abi.h', 'plugin.cc'].map((name) => [name, readFileSync(`${folder}/${name}`)]));
const built = await runClang([
  'clang++', '-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-fno-exceptions', '-fno-rtti',
  '-mexec-model=reactor', '-Wl,--export=malloc', '-Wl,--export=free', '-Wl,--export-table', '-Wl,--strip-debug',
  'plugin.cc', '-o', 'plugin.wasm',
], sources, { fetchProgress: () => {} });
writeFileSync(module, built['plugin.wasm']);
