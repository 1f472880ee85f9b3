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

// How a verification was asked for. What was left to the machine stays open here, so that equal flags give equal
// bytes; the receipt says what it came to.
struct VerifyFlags {
  bool full = false;        // real sizes instead of reduced ones
  std::string precision;    // "fp32": without rounding; empty: the engine's own
  std::string isa;          // empty: the best there was
  int64_t threads = 0;      // 0: as many as the process could use
  std::string text;         // where the text is from that logits were compared on; empty: no text
  std::string text_sha256;  // of all of it
  int64_t text_tokens = 0;  // from its beginning
  int64_t tokens = 0;       // these, filled up with pseudo-random ones

  template <class V>
  void visit_fields(V& v) {
    v("full", full);
    v("precision", precision);
    v("isa", isa);
    v("threads", threads);
    v("text", text);
    v("text_sha256", text_sha256);
    v("text_tokens", text_tokens);
    v("tokens", tokens);
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
  std::optional<VerifyFlags> flags;  // absent in the oldest receipts

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
    v("flags", flags);
  }
};

}  // namespace lathe::plan
