# Sourced by run.sh and screenshots.sh: node, npm and Chromium are there, the pinned packages are in the cache.
ROOMSCRIBE_CACHE=${ROOMSCRIBE_CACHE:-$HOME/.cache/roomscribe}
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export ROOMSCRIBE_CACHE CHROMIUM
for tool in node npm "$CHROMIUM"; do
    command -v "$tool" >/dev/null 2>&1 || { echo "missing: $tool. Install it (Debian: apt-get install nodejs npm chromium) or set CHROMIUM to a Chromium or Chrome." >&2; exit 69; }
done
packages="$ROOMSCRIBE_CACHE/browser"
if ! cmp -s package.json "$packages/package.json" || [ ! -d "$packages/node_modules/playwright-core" ]; then
    mkdir -p "$packages"
    echo "installing playwright-core and ws into $packages (once)" >&2
    rm -f "$packages/package.json"
    cp package.json "$packages/new.json"
    (cd "$packages" && npm install --no-save --no-audit --no-fund --silent $(node -p 'Object.entries(require("./new.json").dependencies).map((d) => d.join("@")).join(" ")')) >&2 \
        || { echo "missing: the npm registry does not answer, and playwright-core is not in $packages yet" >&2; exit 69; }
    mv "$packages/new.json" "$packages/package.json"
fi
