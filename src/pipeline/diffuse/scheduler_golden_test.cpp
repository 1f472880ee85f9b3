// Every scheduler and option gives diffusers' samples, call by call, for a small model
// (tools/make_scheduler_goldens.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "pipeline/diffuse/scheduler.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kCount = 12;     // [2, 1, 2, 3]
constexpr double kNoised = 0.75;  // runs of this strength hold samples with noise, too
using Sample = std::vector<float>;

Sample first_sample() {
  Sample x(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = float(int((37 * i) % 101) - 50) / 32.0f;
  return x;
}

void fill_noise(size_t k, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(int((7 * i + 13 * k + 5) % 31) - 15) / 8.0f;
}

Sample model(const Sample& x, double timestep) {
  const auto c = float(0.3 + 0.0005 * timestep);
  Sample output(x.size());
  for (size_t i = 0; i < x.size(); ++i) output[i] = x[i] * c / (1.0f + x[i] * x[i] * 0.25f);
  return output;
}

std::vector<float> read_samples() {
  std::ifstream in(LATHE_TESTS_DIR "/diffuse/schedulers.f32", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<float> samples(bytes.size() / sizeof(float));
  std::memcpy(samples.data(), bytes.data(), samples.size() * sizeof(float));
  return samples;
}

// The largest difference over the largest magnitude.
double difference(std::span<const float> expected, std::span<const float> found) {
  double largest = 1e-30, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, double(std::abs(expected[i])));
    const double off = std::abs(double(expected[i]) - double(found[i]));
    worst = off <= worst ? worst : off;  // NaN is the worst
  }
  return worst / largest;
}

class Golden {
 public:
  Golden(const Json& common, const Json& json) : json_(json) {
    run_.batch = 2;
    run_.eta = find_number(json, "eta").value_or(0);
    run_.strength = find_number(json, "strength");
    const int steps = int(get_int(json, "steps"));
    Json config = common;
    config.update(json["config"]);
    scheduler_ = make_scheduler(contract::read_scheduler(config), steps, run_);
    x_ = first_sample();
    if (run_.strength) {
      Sample noise(kCount);
      fill_noise(0, noise);
      scheduler_->add_noise(0, noise, x_);
    } else {
      for (float& value : x_) value *= scheduler_->init_noise_sigma();
    }
  }

  void check_timesteps() const {
    const Json& expected = json_["timesteps"];
    ASSERT_EQ(scheduler_->timesteps().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(scheduler_->timesteps()[i], expected[i].get<double>(), 1e-3) << i;
    EXPECT_NEAR(scheduler_->init_noise_sigma(), get_number(json_, "init_noise_sigma"),
                1e-6 * get_number(json_, "init_noise_sigma"));
  }

  // Compares with the samples kept, which begin at `samples`, and moves it on. The largest difference.
  double check_samples(const float*& samples) {
    size_t draws = 0;
    double worst = 0;
    const Scheduler::Noise noise = [&](std::span<float> values) { fill_noise(++draws, values); };
    const size_t calls = scheduler_->timesteps().size();
    for (size_t call = 0; call <= calls; ++call) {
      if (call < 3 || call + 1 >= calls || call % 4 == 0) {  // the others are not in the file
        const double off = difference({samples, kCount}, x_);
        EXPECT_LE(off, 1e-5) << "after call " << call;
        worst = std::max(worst, off);
        samples += kCount;
      }
      if (call == calls) break;
      Sample input = x_;
      scheduler_->scale_model_input(call, input);
      scheduler_->step(call, model(input, scheduler_->timesteps()[call]), x_, noise);
    }
    EXPECT_EQ(draws > 0, scheduler_->is_stochastic());
    for (size_t call = 1; run_.strength == kNoised && call < calls; ++call, samples += kCount) {
      Sample noised = first_sample(), normals(kCount);
      fill_noise(0, normals);
      scheduler_->add_noise(call, normals, noised);
      EXPECT_LE(difference({samples, kCount}, noised), 1e-6) << "noise of call " << call;
    }
    return worst;
  }

 private:
  const Json& json_;
  SchedulerRun run_;
  std::unique_ptr<Scheduler> scheduler_;
  Sample x_;
};

TEST(Scheduler, DiffusersSamplesCallByCall) {
  const Json file = read_json_file(LATHE_TESTS_DIR "/diffuse/schedulers.json");
  const Json& cases = file["cases"];
  const std::vector<float> samples = read_samples();
  const float* at = samples.data();
  double worst = 0;
  for (const Json& json : cases) {
    Json name = json;
    name.erase("timesteps");
    name["config"].erase("trained_betas");
    SCOPED_TRACE(name.dump());
    try {
      Golden golden(file["common"], json);
      golden.check_timesteps();
      worst = std::max(worst, golden.check_samples(at));
    } catch (const Error& error) {
      FAIL() << error.what();
    }
  }
  EXPECT_EQ(at, samples.data() + samples.size());
  EXPECT_GT(cases.size(), 800u);
  RecordProperty("worst", std::to_string(worst));
  std::printf("%zu configurations, worst difference %.2g\n", cases.size(), worst);
}

}  // namespace
}  // namespace lathe::pipeline
