#include "pipeline/diffuse/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/json.h"

namespace lathe::pipeline {
namespace {

using Pair = std::pair<std::string, std::string>;

struct SamplerName {
  std::string_view scheduler;  // ours
  std::string_view sampler;    // the web UI's, or what reads well beside its names
};
constexpr std::array<SamplerName, 17> kSamplers = {{
    {"ddim", "DDIM"},
    {"ddpm", "DDPM"},
    {"pndm", "PLMS"},
    {"lms", "LMS"},
    {"euler", "Euler"},
    {"euler_a", "Euler a"},
    {"heun", "Heun"},
    {"dpm2", "DPM2"},
    {"dpm2_a", "DPM2 a"},
    {"dpm++2m", "DPM++ 2M"},
    {"dpm++2m_sde", "DPM++ 2M SDE"},
    {"dpm++2s", "DPM++ 2S"},
    {"dpm++_sde", "DPM++ SDE"},
    {"unipc", "UniPC"},
    {"deis", "DEIS"},
    {"lcm", "LCM"},
    {"ddim_inverse", "DDIM inverse"},
}};
constexpr std::string_view kKarras = "_karras";
constexpr size_t kLongestKey = 200;
// Ours: the sampler is the one that the model brings, not what its name alone gives.
constexpr std::string_view kSamplerSetup = "Sampler setup", kOwn = "model";

// The web UI's names of where noise comes from.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kNoises = {
    {{"torch", "CPU"}, {"cuda", "NV"}, {"numpy", "numpy"}}};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// --- writing

std::string quoted(const std::string& value) {
  if (value.find_first_of(",:\n\"") == std::string::npos && trim(value).size() == value.size()) return value;
  return Json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
}

class LineWriter {
 public:
  void add(std::string_view key, const std::string& value) {
    if (value.empty()) return;
    if (!line_.empty()) line_ += ", ";
    line_ += fmt::format("{}: {}", key, quoted(value));
  }
  template <class T>
  void add(std::string_view key, const std::optional<T>& value) {
    if (value) add(key, fmt::format("{}", *value));
  }
  const std::string& line() const { return line_; }

 private:
  std::string line_;
};

void add_sampler(LineWriter& line, std::string scheduler) {
  std::string schedule;
  if (scheduler.ends_with(kKarras)) {
    scheduler.resize(scheduler.size() - kKarras.size());
    schedule = "Karras";
  }
  const auto name = std::ranges::find(kSamplers, scheduler, &SamplerName::scheduler);
  line.add("Sampler", name == kSamplers.end() ? scheduler : std::string(name->sampler));
  line.add("Schedule type", schedule);
}

// --- reading

bool is_key_character(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  return letter || c == ' ' || c == '-' || c == '/';
}

// Takes "key: value" and the comma behind it off the front; false where it does not begin so.
bool take_pair(std::string_view& text, Pair& pair) {
  std::string_view rest = trim(text);
  const size_t colon = rest.substr(0, kLongestKey).find(':');
  if (colon == std::string_view::npos || colon < 2 || !std::ranges::all_of(rest.substr(0, colon), is_key_character))
    return false;
  pair.first = trim(rest.substr(0, colon));
  rest = trim(rest.substr(colon + 1));
  if (rest.starts_with('"')) {
    size_t end = 1;
    while (end < rest.size() && rest[end] != '"') end += rest[end] == '\\' ? 2 : 1;
    if (end < rest.size()) {
      const Json value = Json::parse(rest.substr(0, end + 1), nullptr, false);
      const std::string_view after = trim(rest.substr(end + 1));
      if (value.is_string() && (after.empty() || after.front() == ',')) {
        pair.second = value.get<std::string>();
        text = after.empty() ? after : after.substr(1);
        return true;
      }
    }
  }
  const size_t comma = std::min(rest.find(','), rest.size());
  pair.second = trim(rest.substr(0, comma));
  text = rest.substr(std::min(comma + 1, rest.size()));
  return true;
}

std::vector<Pair> pairs_of(std::string_view line) {
  std::vector<Pair> pairs;
  Pair pair;
  while (!trim(line).empty()) {
    if (take_pair(line, pair))
      pairs.push_back(pair);
    else  // not a pair: on behind the next comma
      line.remove_prefix(std::min(line.find(','), line.size() - 1) + 1);
  }
  return pairs;
}

template <class T>
bool number(std::string_view text, std::optional<T>& value) {
  T parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(parsed)) return false;
  }
  value = parsed;
  return true;
}

bool read_size(std::string_view text, PictureSettings& settings) {
  const size_t cross = text.find('x');
  if (cross == std::string_view::npos) return false;
  std::optional<int64_t> width, height;
  if (!number(text.substr(0, cross), width) || !number(text.substr(cross + 1), height)) return false;
  settings.width = width;
  settings.height = height;
  return true;
}

// "DPM++ 2M" with a schedule beside it, or in one as earlier versions wrote it: "DPM++ 2M Karras".
bool read_sampler(std::string_view sampler, std::string_view schedule, PictureSettings& settings) {
  constexpr std::string_view kOldKarras = " Karras";
  const bool old = sampler.ends_with(kOldKarras);
  if (old) sampler.remove_suffix(kOldKarras.size());
  const auto name = std::ranges::find(kSamplers, sampler, &SamplerName::sampler);
  if (name == kSamplers.end()) return false;
  const bool karras = old || schedule == "Karras";
  const bool has_karras = name->scheduler == "dpm++2m" || name->scheduler == "dpm++2m_sde";
  if (karras && !has_karras) return false;
  if (!schedule.empty() && schedule != "Karras" && schedule != "Automatic") return false;
  settings.scheduler = fmt::format("{}{}", name->scheduler, karras ? kKarras : "");
  return true;
}

bool read_pair(const Pair& pair, PictureSettings& settings) {
  const auto& [key, value] = pair;
  if (key == "Steps") return number(value, settings.steps);
  if (key == "CFG scale") return number(value, settings.guidance);
  if (key == "Seed") return number(value, settings.seed);
  if (key == "Size") return read_size(value, settings);
  if (key == "Denoising strength") return number(value, settings.strength);
  if (key == "CFG rescale") return number(value, settings.guidance_rescale);
  if (key == "Eta") return number(value, settings.eta);
  if (key == "Clip skip") {
    if (!number(value, settings.clip_skip)) return false;
    if (*settings.clip_skip >= 1) {
      --*settings.clip_skip;
      return true;
    }
    settings.clip_skip.reset();
    return false;
  }
  if (key == kSamplerSetup) return settings.own_scheduler = value == kOwn;
  if (key == "RNG") {
    for (const auto& [noise, name] : kNoises) {
      if (name == value) settings.noise = noise;
    }
    return !settings.noise.empty();
  }
  std::string* text = key == "Model"        ? &settings.model
                      : key == "Model hash" ? &settings.model_hash
                      : key == "Version"    ? &settings.version
                                            : nullptr;
  if (text) *text = value;
  return text != nullptr;
}

void read_pairs(const std::vector<Pair>& pairs, PictureSettings& settings) {
  std::string_view sampler, schedule;
  for (const auto& [key, value] : pairs) {
    if (key == "Sampler") sampler = value;
    if (key == "Schedule type") schedule = value;
  }
  const bool known = read_sampler(sampler, schedule, settings);
  for (const Pair& pair : pairs) {
    const bool of_sampler = pair.first == "Sampler" || pair.first == "Schedule type";
    if (of_sampler ? !known : !read_pair(pair, settings)) settings.others.push_back(pair);
  }
}

}  // namespace

std::string write_settings(const PictureSettings& settings) {
  LineWriter line;
  line.add("Steps", settings.steps);
  add_sampler(line, settings.scheduler);
  if (settings.own_scheduler) line.add(kSamplerSetup, std::string(kOwn));
  line.add("CFG scale", settings.guidance);
  line.add("Seed", settings.seed);
  if (settings.width && settings.height) line.add("Size", fmt::format("{}x{}", *settings.width, *settings.height));
  line.add("Model hash", settings.model_hash);
  line.add("Model", settings.model);
  line.add("Denoising strength", settings.strength);
  if (settings.clip_skip) line.add("Clip skip", fmt::format("{}", *settings.clip_skip + 1));
  line.add("CFG rescale", settings.guidance_rescale);
  line.add("Eta", settings.eta);
  const auto noise =
      std::ranges::find(kNoises, settings.noise, [](const auto& pair) -> std::string_view { return pair.first; });
  if (noise != kNoises.end()) line.add("RNG", std::string(noise->second));
  for (const auto& [key, value] : settings.others) line.add(key, value);
  line.add("Version", settings.version);
  std::string text = settings.prompt + "\n";
  if (!settings.negative_prompt.empty()) text += "Negative prompt: " + settings.negative_prompt + "\n";
  return text + line.line();
}

PictureSettings read_settings(std::string_view text) {
  PictureSettings settings;
  text = trim(text);
  const size_t last = text.rfind('\n');
  std::string_view lines = last == std::string_view::npos ? std::string_view() : text.substr(0, last);
  std::string_view last_line = last == std::string_view::npos ? text : text.substr(last + 1);
  // As the web UI decides whether there are settings at all.
  constexpr size_t kFewestPairs = 3;
  const std::vector<Pair> pairs = pairs_of(last_line);
  if (pairs.size() >= kFewestPairs)
    read_pairs(pairs, settings);
  else
    lines = text;
  constexpr std::string_view kNegative = "Negative prompt:";
  std::string* target = &settings.prompt;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    std::string_view line = trim(lines.substr(0, end));
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (line.starts_with(kNegative)) {
      target = &settings.negative_prompt;
      line = trim(line.substr(kNegative.size()));
    }
    if (!target->empty()) *target += '\n';
    *target += line;
  }
  return settings;
}

}  // namespace lathe::pipeline
