// What was verified, how, and with what result. Travels inside the engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lathe::plan {

// One gate of the verification contract (design.md section 5).
struct Gate {
  std::string name;  // "2 fp32 against reference"
  double value = 0;
  double bound = 0;
  bool pass = false;
  std::string unit;  // "relative to max", "KL", "share"
  std::string note;  // conditions, or why it was not run

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("value", value);
    v("bound", bound);
    v("pass", pass);
    v("unit", unit);
    v("note", note);
  }
};

// The first place where two runs differ.
struct Difference {
  std::string node;
  std::string tensor;
  std::vector<int64_t> index;
  double max_abs = 0;
  double expected = 0;
  double found = 0;

  template <class V>
  void visit_fields(V& v) {
    v("node", node);
    v("tensor", tensor);
    v("index", index);
    v("max_abs", max_abs);
    v("expected", expected);
    v("found", found);
  }
};

struct SourceHash {
  std::string file;
  std::string sha256;
  int64_t bytes = 0;

  template <class V>
  void visit_fields(V& v) {
    v("file", file);
    v("sha256", sha256);
    v("bytes", bytes);
  }
};

struct Receipt {
  bool pass = false;
  std::string engine_hash;  // of the manifest, which covers weight hashes; leaves the receipt out
  std::string device;
  std::string precision;
  std::string isa;
  std::vector<SourceHash> sources;
  std::vector<Gate> gates;
  std::optional<Difference> first_difference;

  template <class V>
  void visit_fields(V& v) {
    v("pass", pass);
    v("engine_hash", engine_hash);
    v("device", device);
    v("precision", precision);
    v("isa", isa);
    v("sources", sources);
    v("gates", gates);
    v("first_difference", first_difference);
  }
};

}  // namespace lathe::plan
