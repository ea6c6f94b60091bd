#!/usr/bin/env bash
# Builds the MongoDB server of the tests from its Go module, into the folder where they look for it or into the one that
# is named. Does nothing when it is there; about three minutes on two cores. Needs Go 1.24 or newer.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${MQTT_TEST_FERRETDB_DIR:-$HOME/.cache/mqtt-trio-tests/ferretdb}}
version=v1.24.2
# Changed with what is changed below, and known to src/mongodb.ts.
name=$version-one-writer

! "$folder/ferretdb" --version 2>/dev/null | grep -qx "version: $name" || exit 0
command -v go >/dev/null || { echo "Go is missing: it builds the MongoDB server of the tests" >&2 && exit 1; }
started=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
module=$(go mod download -json "github.com/FerretDB/FerretDB@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$module" source
chmod -R u+w source
cd source

# edit FILE FROM TO: the line that is FROM becomes TO.
edit() {
  grep -qx "$2" "$1" || { echo "FerretDB $version has no line \"$2\" in $1" >&2 && exit 1; }
  sed -i "s/^$2\$/$3/" "$1"
}
cp "$here/one_writer.go" internal/clientconn/
edit internal/clientconn/conn.go $'\t\treturn cmd\.Handler(connCtx, msg)' $'\t\tdefer lockWriter(command)()\\n&'
# As the index on _id has it: otherwise each look for an _id reads the whole collection.
edit internal/backends/sqlite/metadata/metadata.go $'\tIDColumn = DefaultColumn + .*' $'\tIDColumn = DefaultColumn + `->"_id"`'
echo "$name" >build/version/version.txt

mkdir -p "$folder"
CGO_ENABLED=0 go build -buildvcs=false -o "$folder/ferretdb.$$" ./cmd/ferretdb
mv "$folder/ferretdb.$$" "$folder/ferretdb"
echo "FerretDB $name: built in $((SECONDS - started)) s"
