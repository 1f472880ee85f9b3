// The library's sampling on a GPU against the sampler of the CPU, vocabularies of models included.
#include "backend/cuda/host/on_device.h"
#include "sample_cases.h"

namespace lathe::backend::cuda {
namespace {

TEST_F(OnDevice, SampleGivesTheTokenOfTheSampler) {
  for (const size_t vocabulary : {1u, 2u, 31u, 100u, 513u, 3000u, 49152u, 151936u}) {
    const auto sequences = random_sequences(vocabulary, vocabulary > 100'000 ? 200 : 1000);
    const SampleArguments arguments(sequences);
    LatheCudaSample call = {};
    call.logits = upload(arguments.logits);
    call.options = upload(arguments.options);
    call.edits = upload(arguments.edits);
    call.tokens = upload(std::vector<int32_t>(sequences.size()));
    call.bad = upload(std::vector<int32_t>(sequences.size()));
    call.sequences = int32_t(sequences.size());
    call.vocabulary = int32_t(vocabulary);
    good(api->sample(stream, &call, &message));
    expect_same(sequences, download(call.tokens, sequences.size()));
    for (const int32_t bad : download(call.bad, sequences.size())) EXPECT_EQ(bad, -1);
    release_all();
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
