#include "cli/picture_comparison.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/file.h"
#include "base/memory.h"
#include "cli/model.h"
#include "cli/picture_files.h"
#include "cli/terminal_picture.h"
#include "contract/scheduler.h"
#include "image/resize.h"

namespace lathe::cli {
namespace {

// Of two pictures, in levels of 0 to 255.
double deviation(const image::Image& a, const image::Image& b) {
  double squares = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const double difference = double(a.pixels[i]) - double(b.pixels[i]);
    squares += difference * difference;
  }
  return std::sqrt(squares / double(std::max<size_t>(1, a.pixels.size())));
}

double peak_signal_to_noise(double rms) {
  return 20 * std::log10(255 / rms);
}

double unet_ms(const pipeline::PictureResult& result) {
  return std::accumulate(result.step_ms.begin(), result.step_ms.end(), 0.0);
}

}  // namespace

std::vector<std::string> schedulers_to_compare(const std::vector<std::string>& wish, bool guidance_embedded) {
  if (wish != std::vector<std::string>{"schedulers"}) {
    for (const std::string& name : wish) {
      if (!contract::scheduler_class(name).empty()) continue;
      fail(ErrorCode::unsupported, "--compare {}: expected \"schedulers\" or some of {}", name,
           fmt::join(contract::scheduler_names(), ","));
    }
    return wish;
  }
  std::vector<std::string> names;
  for (const std::string& name : contract::scheduler_names()) {
    if (name == "ddim_inverse") continue;               // goes from the picture to noise
    if (name == "lcm" && !guidance_embedded) continue;  // for models that were distilled for it
    names.push_back(name);
  }
  return names;
}

Exit compare_schedulers(PictureModel model, const pipeline::PictureRequest& request, const PictureFlags& flags,
                        const pipeline::DiffuserOptions& options, const Output& output) {
  const std::vector<std::string> names = schedulers_to_compare(flags.compare, model.contract.guidance_embedded);
  const auto diffuser = open_diffuser(std::move(model), options);
  const ProgressSink progress = output.progress(ProgressUnit::steps);
  const auto draw = [&](const std::string& name, int steps) {
    pipeline::PictureRequest wish = request;
    wish.scheduler = name;
    wish.steps = steps;
    pipeline::PictureResult result = diffuser->run(wish, [&](int step, int count, std::span<const float>) {
      progress(
          {.step = name.empty() ? "reference" : name, .done_bytes = uint64_t(step), .total_bytes = uint64_t(count)});
      return true;
    });
    if (std::ranges::count(result.hidden, true) > 0)
      output.note(fmt::format("{}: the safety checker hides this picture", result.scheduler_name));
    return result;
  };
  const pipeline::PictureResult reference = draw("", flags.reference_steps);
  std::vector<image::Image> sheet = {images_of(reference)[0]};
  output.print(fmt::format("{} x {}, guidance {:g}, seed {}; difference from {} with {} steps\n", request.width,
                           request.height, request.guidance, request.seed, reference.scheduler_name,
                           flags.reference_steps));
  output.print(fmt::format("{:<20} {:>6} {:>6} {:>10} {:>10} {:>10} {:>8}", "scheduler", "steps", "calls", "unet ms",
                           "a call", "deviation", "PSNR dB"));
  const auto line = [&](const std::string& name, const pipeline::PictureResult& result, double rms) {
    output.print(fmt::format("{:<20} {:>6} {:>6} {:>10.0f} {:>10.0f} {:>10.2f} {:>8}", name, result.steps,
                             result.step_ms.size(), unet_ms(result), unet_ms(result) / double(result.step_ms.size()),
                             rms, rms > 0 ? fmt::format("{:.1f}", peak_signal_to_noise(rms)) : "same"));
  };
  line(reference.scheduler_name, reference, 0);
  Json results = Json::array();
  for (const std::string& name : names) {
    const pipeline::PictureResult result = draw(name, request.steps);
    sheet.push_back(images_of(result)[0]);
    const double rms = deviation(sheet[0], sheet.back());
    line(name, result, rms);
    results.push_back({{"scheduler", name},
                       {"steps", result.steps},
                       {"calls", result.step_ms.size()},
                       {"unet_ms", unet_ms(result)},
                       {"deviation", rms}});
  }
  constexpr int64_t kGap = 8, kMostColumns = 6;
  constexpr uint8_t kBackground = 128;
  const int64_t columns =
      flags.contact_sheet > 0 ? flags.contact_sheet : std::min<int64_t>(kMostColumns, int64_t(sheet.size()));
  const image::Image all = image::contact_sheet(sheet, columns, kGap, kBackground);
  write_text_file(flags.output, encoded(flags.output, all, flags.quality, ""));
  output.stream(picture_sequence(choose_graphics(flags.show), all));
  output.print(flags.output);
  output.result({{"sheet", flags.output},
                 {"width", request.width},
                 {"height", request.height},
                 {"guidance", request.guidance},
                 {"seed", request.seed},
                 {"reference", {{"scheduler", reference.scheduler_name}, {"steps", reference.steps}}},
                 {"schedulers", results},
                 {"memory", memory_json(memory_use())}});
  return Exit::good;
}

}  // namespace lathe::cli
