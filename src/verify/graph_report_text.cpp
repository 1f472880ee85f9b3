// Reports on graphs for people.
#include <cmath>

#include "base/error.h"
#include "verify/verify_graph.h"

namespace lathe::verify {
namespace {

std::string text_of(const ValueOrigin& origin) {
  if (origin.op.empty()) return "no node of its own";
  return fmt::format("{} \"{}\"{}", origin.op, origin.node, origin.kernel.empty() ? "" : ", kernel " + origin.kernel);
}

std::string text_of(const TensorError& error) {
  if (!error.form.empty()) return error.form;
  const std::string at = fmt::format("{} of {} elements differ; at [{}] expected {:.9g}, found {:.9g}", error.differing,
                                     error.size, fmt::join(error.index, ", "), error.expected, error.found);
  return error.exact ? at
                     : fmt::format("{:.3g} of the tensor's largest ({:.6g}); {}", error.relative(), error.scale, at);
}

std::string row_of(const OutputError& output) {
  const TensorError& e = output.error;
  std::string note;
  if (!e.form.empty()) note = e.form;
  if (e.not_finite > 0) note += fmt::format("{} of {} elements are not finite", e.not_finite, e.size);
  return fmt::format("  {} {:<28} {:<22} {:>10.3g} {:>10.3g} {:>10.3g} {:>10}  {}\n", output.pass ? "ok  " : "FAIL",
                     output.name, output.type, e.max_abs, e.scale, e.relative(), e.differing, note);
}

}  // namespace

std::string describe(const GraphReport& report) {
  std::string text = fmt::format("verification: {}\n  {} against {}; {}; {} run{} on inputs of {}\n",
                                 report.pass ? "PASS" : "FAIL", report.found, report.expected, report.precision,
                                 report.runs, report.runs == 1 ? "" : "s", report.runs == 1 ? "its own" : "their own");
  for (const std::string& input : report.inputs) text += fmt::format("    {}\n", input);
  for (const plan::Gate& gate : report.gates) {
    text += fmt::format("  {} {:<42} {:>10.3g} (bound {:.3g}) {}{}{}\n", gate.pass ? "ok  " : "FAIL", gate.name,
                        gate.value, gate.bound, gate.unit, gate.note.empty() ? "" : "; ", gate.note);
  }
  if (report.forced) text += "  of a run left to itself, in which one step of one byte moves all behind it:\n";
  text += fmt::format("       {:<28} {:<22} {:>10} {:>10} {:>10} {:>10}\n", "output", "type", "max error", "largest",
                      "share", "differ");
  for (const OutputError& output : report.outputs) text += row_of(output);
  if (report.first_difference) {
    const FirstDifference& first = *report.first_difference;
    text += fmt::format("  first difference: \"{}\" ({}): {}\n    expected from {}\n    found in {}\n", first.tensor,
                        first.run, text_of(first.error), text_of(first.expected), text_of(first.found));
  } else if (!report.pass) {
    text += "  no value that both know by name differs before the outputs\n";
  }
  return text;
}

}  // namespace lathe::verify
