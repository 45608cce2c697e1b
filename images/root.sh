#!/bin/sh
# root.sh ROLE PROGRAM FOLDER: lays out the root of a role's image: the program, the C library's files that it is linked
# with, what resolves names (hosts, DNS), the certificates of public authorities, a user, licences; for speech the
# recogniser too. Where Debian's packages are known, licenses/debian says which ones are in it (images/sbom.py reads it).
set -eu
role=$1 program=$2 folder=$3
here=$(cd "$(dirname "$0")/.." && pwd)
"$here/tests/tools/need.sh" ca-certificates
mkdir -p "$folder/etc/ssl/certs" "$folder/licenses"
cp "$program" "$folder/roomscribe-$role"
strip "$folder/roomscribe-$role"
cp "$here/LICENSE" "$folder/licenses/roomscribe"
# Those of the package only: this machine may trust others too (a company's proxy), which nobody else should.
authorities=/usr/share/ca-certificates/mozilla
if [ -d "$authorities" ]; then
    (LC_ALL=C; export LC_ALL; cat "$authorities"/*.crt) >"$folder/etc/ssl/certs/ca-certificates.crt"
else
    echo "root.sh: the authorities that this machine trusts go into the image" >&2
    cp -L /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
fi
licence_of_package() {
    [ -e "/usr/share/doc/$1/copyright" ] || return 0
    mkdir -p "$folder/licenses/debian"
    cp -L "/usr/share/doc/$1/copyright" "$folder/licenses/debian/$1"
}
licence_of_package ca-certificates
echo "hosts: files dns" >"$folder/etc/nsswitch.conf"
echo "nonroot:x:65532:65532::/:/nologin" >"$folder/etc/passwd"
echo "nonroot:x:65532:" >"$folder/etc/group"

# Each at the path where the loader looks for it.
libraries() {
    for file in "$@"; do
        ldd "$file" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p'
    done | sort -u | while read -r library; do
        case $library in "$folder"/*) continue ;; esac
        mkdir -p "$folder$(dirname "$library")"
        cp -L "$library" "$folder$library"
        # Debian knows some files under /usr only.
        owner=$(dpkg -S "$library" 2>/dev/null || dpkg -S "/usr$library" 2>/dev/null || true)
        licence_of_package "${owner%%:*}"
    done
}

if [ "$role" = speech ]; then
    moonshine=$("$program" --fetch)
    mkdir -p "$folder/opt/moonshine"
    (cd "$moonshine" && find . -type f ! -name '*.wav' ! -name verified) | while read -r file; do
        mkdir -p "$folder/opt/moonshine/$(dirname "$file")"
        cp "$moonshine/$file" "$folder/opt/moonshine/$file"
    done
    libraries "$folder/opt/moonshine/moonshine_voice/libmoonshine.so"
fi
libraries "$folder/roomscribe-$role"
find "$folder" -type d -exec chmod 755 {} +
find "$folder" -type f -exec chmod 644 {} +
chmod 755 "$folder/roomscribe-$role"
find "$folder" -name 'ld-linux*' -exec chmod 755 {} +
