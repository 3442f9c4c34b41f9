#!/bin/sh
# Rebuilds echarts/echarts.js byte for byte from the packages of npm that are named here.
# Usage: build.sh [FILE]; without FILE it replaces echarts/echarts.js and the licences beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts \
	echarts@6.1.0 zrender@6.1.0 tslib@2.3.0 esbuild@0.28.2
cp "$here/entry.js" "$here/build.js" .
node build.js entry.js "${1:-$here/echarts/echarts.js}"
if [ $# -eq 0 ]; then
	cp node_modules/echarts/LICENSE "$here/echarts/LICENSE"
	cp node_modules/echarts/NOTICE "$here/echarts/NOTICE"
	cp node_modules/echarts/licenses/LICENSE-d3 "$here/echarts/LICENSE-d3"
	cp node_modules/zrender/LICENSE "$here/echarts/LICENSE-zrender"
fi
