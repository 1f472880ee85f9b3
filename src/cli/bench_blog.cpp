#include <algorithm>

#include "base/memory.h"
#include "bench/bench.h"
#include "bench/picture_speed.h"
#include "cli/bench_pictures.h"
#include "cli/model.h"

namespace lathe::cli {
namespace {

// Pictures of one size, made by what the comparison takes for one program.
struct Series {
  std::string program;
  pipeline::PictureRequest request;
  double flop = 0;         // of a picture
  uint64_t all_bytes = 0;  // where all models stay loaded
  std::vector<double> samples = {};

  double median() const { return bench::median_of(samples); }
  double gflops() const { return flop / median() / 1e6; }
};

// The mistake was 768 against 512: a half more on each side. A model made for 768 is compared with 512, any other with
// a half more than its own.
int64_t smaller_side(const contract::Pictures& contract) {
  const int64_t own = contract.sample_size * contract.latent_scale;
  return own == 768 ? 512 : own;
}

Series make_series(std::string program, const pipeline::PictureRequest& request, int64_t side,
                   pipeline::PictureMeter& meter, const contract::Pictures& contract, uint64_t available) {
  Series series{.program = std::move(program), .request = request};
  series.request.width = series.request.height = side;
  const pipeline::PictureMemory memory = meter.require(series.request, available);
  series.all_bytes = memory.sum_bytes();
  series.flop = bench::picture_flop(contract, series.request, memory, size_t(series.request.steps));
  return series;
}

// "41 % less", "3 % more".
std::string change(double before, double after) {
  const double percent = 100 * (after - before) / before;
  return fmt::format("{:.0f} % {}", std::abs(percent), percent < 0 ? "less" : "more");
}

Json series_json(const Series& series) {
  return {{"test", "picture"},
          {"program", series.program},
          {"width", series.request.width},
          {"height", series.request.height},
          {"samples", series.samples},
          {"median", series.median()},
          {"unit", "ms"},
          {"flop", series.flop},
          {"gflop_per_second", series.gflops()}};
}

void print_table(const std::vector<Series>& all, const Json& conditions, const Output& output) {
  output.print(fmt::format("{:<8} {:>11} {:>5} {:>8} {:>9} {:>7} {:<10} {:>10} {:>11} {:>9}", "program", "size",
                           "steps", "guidance", "precision", "threads", "revision", "GFLOP", "median ms", "GFLOP/s"));
  for (const Series& series : all) {
    output.print(fmt::format(
        "{:<8} {:>11} {:>5} {:>8g} {:>9} {:>7} {:<10} {:>10.0f} {:>11.0f} {:>9.1f}", series.program,
        fmt::format("{}x{}", series.request.width, series.request.height), series.request.steps,
        series.request.guidance, conditions["precision"].get<std::string>(), conditions["threads"].get<int64_t>(),
        conditions["revision"].get<std::string>().substr(0, 10), series.flop / 1e9, series.median(), series.gflops()));
  }
}

}  // namespace

Exit reproduce_blog(PictureBenchRun run, const Output& output) {
  const contract::Pictures contract = run.model.contract;
  const int64_t small = smaller_side(contract), large = small / 2 * 3;
  std::vector<Series> all;
  {
    pipeline::PictureMeter meter(contract, run.model.measurable, run.options);
    const uint64_t available = available_memory_bytes();
    const auto add = [&](const char* program, int64_t side) {
      all.push_back(make_series(program, run.request, side, meter, contract, available));
    };
    add("A", large);
    add("B", small);
    add("B", large);
  }
  const bool keep = all[0].all_bytes < available_memory_bytes() / 2;
  const auto diffuser = open_diffuser(std::move(run.model), {.graph = run.options, .keep_models = keep});
  for (int i = 0; i < run.repeats; ++i) {  // in turns: what disturbs the machine disturbs all
    for (Series& series : all) series.samples.push_back(bench::picture_ms(diffuser->run(series.request)));
  }
  output.print("A and B are this program, with the same model. All that differs is the size of the pictures.\n");
  print_table(all, run.conditions, output);
  const Series &a = all[0], &b_small = all[1], &b = all[2];
  output.print(fmt::format(
      "\nwrong   A at {0}x{0} against B at {1}x{1}: B takes {2} time, {3:.2f} times as fast -- for a picture that "
      "takes "
      "{4:.2f} times less work\n"
      "right   A against B, both at {0}x{0}: B takes {5} time\n"
      "right   work a second: A {6:.1f} GFLOP/s, B {7:.1f} GFLOP/s at {1}x{1}: {8}",
      large, small, change(a.median(), b_small.median()), a.median() / b_small.median(), a.flop / b_small.flop,
      change(a.median(), b.median()), a.gflops(), b_small.gflops(), change(a.gflops(), b_small.gflops())));
  run.conditions.erase("width");
  run.conditions.erase("height");
  Json results = Json::array();
  for (const Series& series : all) results.push_back(series_json(series));
  output.result({{"conditions", run.conditions},
                 {"results", results},
                 {"wrong", {{"times_as_fast", a.median() / b_small.median()}, {"work", a.flop / b_small.flop}}},
                 {"right", {{"times_as_fast", a.median() / b.median()}}},
                 {"memory", memory_json(memory_use())}});
  return Exit::good;
}

}  // namespace lathe::cli
