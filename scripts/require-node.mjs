// Plain JavaScript on purpose: it must run, and say something useful, on the Node that is too old for the rest.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `This is Node ${process.version}, and the sources need Node 22.18 or newer.\n` +
      'The project brings its own: run "npm ci" (with install scripts allowed), then use the npm scripts.\n',
  );
  process.exit(255);
}
