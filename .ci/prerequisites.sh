# Sourced by ./tidemill, ./test and .ci/run with $root set: what must be on the machine, and the cargo tools we install.
# All that is missing is reported at once, with what it is needed for and how to get it on Debian and Ubuntu.

# Where rustup and `cargo install` put programs; a shell that was open before does not know it yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

missing=()

need_to_build() {
    local rust
    rust="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")"
    need "Rust $rust or newer" "builds Tidemill" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh    (or: rustup update stable)" \
        rust_is_at_least "$rust"
    need "a C compiler" "links, and builds SQLite, mimalloc and librdkafka" "sudo apt-get install build-essential" \
        compiles "${CC:-cc}" c '#include <stdio.h>'
    need "a C++ compiler" "builds librdkafka, the Kafka client" "sudo apt-get install build-essential" \
        compiles "${CXX:-c++}" c++ '#include <string>'
    need "make" "builds librdkafka, the Kafka client, and OpenSSL for it" "sudo apt-get install make" command -v make
    need "Perl with its modules" "configures OpenSSL" "sudo apt-get install perl" perl -MFindBin -MIPC::Cmd -e 1
}

# Servers named by the user (see tests/services.py) need nothing here.
need_to_test() {
    need "Python 3.10 or newer" "starts the services that tests use" "sudo apt-get install python3" \
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'
    need "pip" "gets MongoDB and DuckDB" "sudo apt-get install python3-pip" python3 -m pip --version
    if [[ -z ${KAFKA_BOOTSTRAP:-} ]]; then
        need "Java 17 or newer" "runs Apache Kafka" "sudo apt-get install openjdk-17-jre-headless    (or a newer one)" \
            java_is_at_least 17
        need "openssl" "makes the certificates of Kafka's clients" "sudo apt-get install openssl" command -v openssl
        need "Maven" "gets Apache Kafka" "sudo apt-get install maven" command -v mvn
    fi
    if [[ -z ${MONGODB_URI:-} ]]; then
        need "libcurl.so.4" "is linked by MongoDB" "sudo apt-get install libcurl4" has_library libcurl.so.4
        need "libcrypto.so.3" "is linked by MongoDB" "sudo apt-get install libssl3" has_library libcrypto.so.3
    fi
}

# need WHAT PURPOSE REMEDY CHECK [ARGUMENT ...]
need() {
    local what="$1" purpose="$2" remedy="$3"
    shift 3
    "$@" >/dev/null 2>&1 || missing+=("  $what, which $purpose"$'\n'"      $remedy")
}

report_missing() {
    [[ ${#missing[@]} -eq 0 ]] && return
    {
        echo "$(basename "$0"): not found on this machine:"
        printf '%s\n' "${missing[@]}"
    } >&2
    exit 1
}

rust_is_at_least() {
    command -v cargo && printf '%s\n' "$1" "$(rustc --version | cut -d ' ' -f 2)" | sort --version-sort --check
}

java_is_at_least() {
    command -v keytool && (("$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')" >= $1))
}

# compiles COMPILER LANGUAGE INCLUDE: a compiler is of no use without the headers of its library.
compiles() {
    # shellcheck disable=SC2086 # $CC may hold options
    printf '%s\nint main() { return 0; }\n' "$3" | $1 -x "$2" -o /dev/null -
}

has_library() {
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep --fixed-strings "$1"
}

# cargo_tool NAME VERSION [OPTION ...]: installs a cargo subcommand where there is none yet. Unoptimised and without
# debug information it builds in a few minutes. It gets a target directory of its own: in ours it would wait for every
# other build.
cargo_tool() {
    local name="$1" version="$2"
    shift 2
    cargo "${name#cargo-}" --version >/dev/null 2>&1 && return
    echo "$(basename "$0"): installing $name $version, once" >&2
    env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 \
        cargo install --quiet --locked --debug "$name" --version "$version" "$@"
}
