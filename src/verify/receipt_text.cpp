// Receipts for people.
#include "base/error.h"
#include "verify/verify.h"

namespace lathe::verify {

using plan::Gate;
using plan::Receipt;

namespace {

std::string describe(const plan::Difference& d) {
  return fmt::format("node \"{}\", tensor \"{}\" [{}]: expected {:.9g}, found {:.9g}", d.node, d.tensor,
                     fmt::join(d.index, ", "), d.expected, d.found);
}

std::string describe(const plan::VerifyFlags& flags) {
  std::string text = flags.full ? "--full" : "reduced input";
  if (!flags.precision.empty()) text += ", --precision " + flags.precision;
  if (!flags.isa.empty()) text += ", --isa " + flags.isa;
  if (flags.threads > 0) text += fmt::format(", --threads {}", flags.threads);
  text += fmt::format("; {} tokens", flags.tokens);
  if (flags.text_tokens == 0) return text;
  return text + fmt::format(", {} of them from \"{}\" (sha256 {})", flags.text_tokens, flags.text, flags.text_sha256);
}

}  // namespace

void fail_receipt(const Receipt& receipt) {
  for (const Gate& gate : receipt.gates) {
    if (gate.pass) continue;
    const std::string where =
        receipt.first_difference ? "; first difference at " + describe(*receipt.first_difference) : "";
    fail(ErrorCode::verification, "gate \"{}\": {:.4g} {}, bound {:.4g}; {}{}", gate.name, gate.value, gate.unit,
         gate.bound, gate.note, where);
  }
  fail(ErrorCode::verification, "expected a receipt that passes, found one of {} gates that does not",
       receipt.gates.size());
}

std::string describe(const Receipt& receipt) {
  std::string text = fmt::format("verification: {} ({}, {}, {})\n", receipt.pass ? "PASS" : "FAIL", receipt.device,
                                 receipt.isa, receipt.precision);
  if (receipt.flags) text += fmt::format("  made with {}\n", describe(*receipt.flags));
  for (const Gate& gate : receipt.gates) {
    text += fmt::format("  {} {:<42} {:>10.3g} (bound {:.3g}) {}{}{}\n", gate.pass ? "ok  " : "FAIL", gate.name,
                        gate.value, gate.bound, gate.unit, gate.note.empty() ? "" : "; ", gate.note);
  }
  if (receipt.first_difference) text += "  first difference: " + describe(*receipt.first_difference) + "\n";
  for (const plan::SourceHash& source : receipt.sources) {
    text += fmt::format("  sha256 {}  {} ({} bytes)\n", source.sha256, source.file, source.bytes);
  }
  return text;
}

}  // namespace lathe::verify
