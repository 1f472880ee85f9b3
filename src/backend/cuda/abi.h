// What passes between the program and liblathe_cuda.so: C only, no exceptions, a status code from every function.
//
// The library exports lathe_cuda_abi_hash and lathe_cuda_open, nothing else. Both sides are compiled with
// LATHE_CUDA_ABI_HASH, which is computed from this file's text (cmake/cuda.cmake): a library of another text is
// refused, so nothing in here needs to stay as it is from one build to the next.
//
// Functions may be called by any thread. A function that fails writes why into the message, which may be null; one that
// succeeds leaves it alone. Work goes to a stream and may fail later: then synchronize, or any later call, says so.
#ifndef LATHE_BACKEND_CUDA_ABI_H_
#define LATHE_BACKEND_CUDA_ABI_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum LatheCudaStatus {
  LATHE_CUDA_OK = 0,
  LATHE_CUDA_OTHER_BUILD = 1,    // the ABI hashes differ
  LATHE_CUDA_NO_DRIVER = 2,      // libcuda.so.1 is not there
  LATHE_CUDA_OLD_DRIVER = 3,     // it is older than the toolkit the library was built with
  LATHE_CUDA_NO_DEVICE = 4,      // there is a driver, and no GPU that this process may use
  LATHE_CUDA_OTHER_DEVICE = 5,   // the GPU is older than the kernels
  LATHE_CUDA_OUT_OF_MEMORY = 6,  // nothing was allocated; what was there before still is
  LATHE_CUDA_BAD_ARGUMENT = 7,   // a bug in the caller; nothing was launched
  LATHE_CUDA_UNSUPPORTED = 8,    // sizes that the kernels do not take; nothing was launched
  LATHE_CUDA_WRONG_RESULT = 9,   // the self test ran and computed something else
  LATHE_CUDA_DEVICE_LOST = 10,   // a kernel faulted or the GPU fell off: nothing on it works any more in this process
  LATHE_CUDA_FAILED = 11,        // anything else; the message has CUDA's own name for it
};

typedef struct LatheCudaMessage {
  char text[512];  // ends with a zero
} LatheCudaMessage;

// CUDA's numbers: 13000 is 13.0. A driver version of 0: none, or one that does not say.
typedef struct LatheCudaSystem {
  int32_t runtime_version;  // of the toolkit that the library was built with
  int32_t driver_version;   // the newest CUDA that the driver runs
  int32_t devices;
} LatheCudaSystem;

typedef struct LatheCudaDevice {
  char name[256];
  int32_t major;  // compute capability
  int32_t minor;
  int32_t multiprocessors;
  int32_t pci_bus;
  uint64_t memory_total;  // bytes
  uint64_t memory_free;
  uint64_t shared_per_block;  // the most that a block may ask for
} LatheCudaDevice;

typedef struct LatheCudaStream LatheCudaStream;

// Of weights. Those of blocks lie in the packed layouts of backend/cuda/layouts.h; their columns are whole blocks.
enum LatheCudaFormat {
  LATHE_CUDA_F32 = 0,
  LATHE_CUDA_F16 = 1,
  LATHE_CUDA_BF16 = 2,
  LATHE_CUDA_Q4_0 = 3,
  LATHE_CUDA_Q4_1 = 4,
  LATHE_CUDA_Q5_0 = 5,
  LATHE_CUDA_Q5_1 = 6,
  LATHE_CUDA_Q8_0 = 7,
  LATHE_CUDA_Q4_K = 8,
  LATHE_CUDA_Q5_K = 9,
  LATHE_CUDA_Q6_K = 10,
};
enum LatheCudaNorm { LATHE_CUDA_NORM_NONE = 0, LATHE_CUDA_NORM_RMS = 1, LATHE_CUDA_NORM_LAYER = 2 };
// To integers in blocks of 32 columns, with weights of blocks alone.
enum LatheCudaRounding {
  LATHE_CUDA_ROUND_NONE = 0,
  LATHE_CUDA_ROUND_F16 = 1,
  LATHE_CUDA_ROUND_BF16 = 2,
  LATHE_CUDA_ROUND_I8 = 3,
  LATHE_CUDA_ROUND_I16 = 4,
};
enum LatheCudaFunction {
  LATHE_CUDA_IDENTITY = 0,
  LATHE_CUDA_SILU_GATE = 1,
  LATHE_CUDA_GELU_GATE = 2,
  LATHE_CUDA_GELU_TANH_GATE = 3,
  LATHE_CUDA_GELU = 4,
  LATHE_CUDA_GELU_TANH = 5,
  LATHE_CUDA_SILU = 6,
  LATHE_CUDA_RELU = 7,
};
enum LatheCudaOperation { LATHE_CUDA_ADD = 0, LATHE_CUDA_MULTIPLY = 1 };

// All pointers below are to memory of the stream's device.

// y = function(norm(x) W' + bias) [* (norm(x) G' + gate_bias)] + residual
typedef struct LatheCudaLinearDecode {
  const float* x;           // [tokens][columns]
  const void* weights;      // [rows][columns] of `format`, or packed
  const void* gate;         // the same with a function that gates, else null
  const float* bias;        // [rows] or null
  const float* gate_bias;   // [rows] or null
  const float* norm_scale;  // [columns] with a norm
  const float* norm_bias;   // [columns] or null
  const float* residual;    // [tokens][y_stride] or null; may be y itself
  float* y;                 // [tokens][y_stride], columns y_first to y_first + rows
  int32_t tokens;
  int32_t columns;
  int32_t rows;
  int32_t y_stride;
  int32_t y_first;
  int32_t format;    // LatheCudaFormat
  int32_t norm;      // LatheCudaNorm
  int32_t rounding;  // LatheCudaRounding, of activations in front of products
  int32_t function;  // LatheCudaFunction
  float epsilon;
} LatheCudaLinearDecode;

// y = function(x W' + bias) + residual by tensor cores; columns are a multiple of 32.
typedef struct LatheCudaLinearPrefill {
  const void* x;          // [tokens][columns] of `format`
  const void* weights;    // [rows][columns] of `format`
  const float* bias;      // [rows] or null
  const float* residual;  // [tokens][y_stride] or null; may be y itself
  float* y;               // [tokens][y_stride], columns y_first to y_first + rows
  int32_t tokens;
  int32_t columns;
  int32_t rows;
  int32_t y_stride;
  int32_t y_first;
  int32_t format;    // LATHE_CUDA_F16 or LATHE_CUDA_BF16
  int32_t function;  // LatheCudaFunction without those that gate
} LatheCudaLinearPrefill;

// Rotary embedding, cache append and causal attention over the paged cache, for any mix of sequences. A cache block is
// [keys, values][kv_heads][64 positions][head_dim] of `format`.
typedef struct LatheCudaPagedAttention {
  const float* qkv;            // [tokens][heads + 2 kv_heads][head_dim]
  const float* cos;            // [tokens][rotary_dim / 2] or null
  const float* sin;            // the same
  const int32_t* sequence;     // [tokens]: its row of the block table
  const int32_t* position;     // [tokens]
  const int32_t* block_table;  // [sequences][blocks_per_sequence]
  void* cache;
  float* queries;  // scratch [tokens][heads][head_dim]
  float* parts;    // scratch [tokens][heads][part_count][head_dim + 2]
  float* out;      // [tokens][heads][head_dim]
  int32_t tokens;
  int32_t heads;  // a multiple of kv_heads
  int32_t kv_heads;
  int32_t head_dim;  // 256 at the most
  int32_t rotary_dim;
  int32_t interleaved;  // pairs (0, 1), (2, 3) ... instead of halves
  int32_t blocks_per_sequence;
  int32_t part_count;  // of 256 positions, for the longest sequence
  int32_t format;      // LatheCudaFormat
  float scale;
} LatheCudaPagedAttention;

// y = norm(x) * scale + bias, or x itself without a norm; as floats, or rounded to 16 bits and stored as such.
typedef struct LatheCudaNormalise {
  const float* x;      // [tokens][columns]
  const float* scale;  // [columns] with a norm
  const float* bias;   // [columns] or null
  void* y;             // [tokens][columns] of float, or of 16 bits with a rounding
  int32_t tokens;
  int32_t columns;
  int32_t norm;      // LatheCudaNorm
  int32_t rounding;  // LatheCudaRounding
  float epsilon;
} LatheCudaNormalise;

// y = a + b or a b, [+ residual].
typedef struct LatheCudaCombine {
  const float* a;  // [count]
  const float* b;
  const float* residual;  // or null; any of these may be y itself
  float* y;
  int64_t count;
  int32_t operation;  // LatheCudaOperation
} LatheCudaCombine;

// Rows of x side by side with others in y.
typedef struct LatheCudaPlaceColumns {
  const float* x;  // [tokens][columns]
  float* y;        // [tokens][y_stride], columns y_first to y_first + columns
  int32_t tokens;
  int32_t columns;
  int32_t y_stride;
  int32_t y_first;
} LatheCudaPlaceColumns;

// y[i] = row rows[i] of the table, as floats. Row numbers are believed.
typedef struct LatheCudaLookUp {
  const int64_t* rows;  // [count]
  const void* table;    // [..][columns] of `format`
  float* y;             // [count][columns]
  int32_t count;
  int32_t columns;
  int32_t format;  // LatheCudaFormat
} LatheCudaLookUp;

// Cosines and sines of position * frequency, rounded to float before, times `scale` after.
typedef struct LatheCudaRotaryTable {
  const int64_t* positions;  // [tokens]
  const float* frequencies;  // [half]; with a base they are base to the power of -i / half instead
  float* cos;                // [tokens][half]
  float* sin;
  int32_t tokens;
  int32_t half;
  float scale;
  double base;  // 0: none
} LatheCudaRotaryTable;

// norm(x) rounded for linear_prefill and linear_prefill_blocks.
typedef struct LatheCudaRoundActivations {
  const float* x;           // [tokens][columns]
  const float* norm_scale;  // [columns] with a norm
  const float* norm_bias;   // [columns] or null
  void* out;                // [tokens][columns] numbers of two bytes, of one with i8
  float* blocks;            // [tokens][columns / 32][2] with integers, else null
  int32_t tokens;
  int32_t columns;
  int32_t norm;      // LatheCudaNorm
  int32_t rounding;  // LatheCudaRounding, not none
  float epsilon;
} LatheCudaRoundActivations;

// y = function(x W' + bias) + residual by tensor cores, weights of blocks.
typedef struct LatheCudaLinearPrefillBlocks {
  const void* x;          // as round_activations wrote it
  const float* x_blocks;  // its blocks, with integers, else null
  const void* weights;    // packed
  const float* bias;      // [rows] or null
  const float* residual;  // [tokens][y_stride] or null; may be y itself
  float* y;               // [tokens][y_stride], columns y_first to y_first + rows
  int32_t tokens;
  int32_t columns;
  int32_t rows;
  int32_t y_stride;
  int32_t y_first;
  int32_t format;    // LatheCudaFormat of blocks
  int32_t rounding;  // LatheCudaRounding of x, not none
  int32_t function;  // LatheCudaFunction without those that gate
} LatheCudaLinearPrefillBlocks;

// How a sequence's next token is chosen: pipeline/generate/sampler.h says what each number means.
typedef struct LatheCudaSampling {
  double uniform;      // the random number of this draw, [0, 1)
  double top_p;        // 1: all
  float scale;         // 1 / temperature, finite
  float min_p;         // 0: all
  int32_t top_k;       // 0: all
  int32_t do_sample;   // 0: the largest logit
  int32_t first_edit;  // of the call's edits
  int32_t edits;       // 0: none
} LatheCudaSampling;

// What is done to a token's logit: bias added; if seen, multiplied (below 0) or divided by the penalty, and then the
// other penalties subtracted. A token has one edit for each sequence at the most.
typedef struct LatheCudaLogitEdit {
  int32_t token;
  int32_t seen;
  float bias;
  float penalty;
  float subtracted;
} LatheCudaLogitEdit;

// y[i] = row rows[i] of a packed matrix, as floats. Row numbers are believed.
typedef struct LatheCudaLookUpBlocks {
  const int64_t* rows;  // [count]
  const void* table;    // packed
  float* y;             // [count][columns]
  int32_t count;
  int32_t columns;
  int32_t format;  // LatheCudaFormat of blocks
} LatheCudaLookUpBlocks;

typedef struct LatheCudaSample {
  float* logits;                     // [sequences][vocabulary]; edits are made in place
  const LatheCudaSampling* options;  // [sequences]
  const LatheCudaLogitEdit* edits;   // of all sequences, or null
  int32_t* tokens;                   // [sequences]; -1: none can follow
  int32_t* bad;                      // [sequences]: the first logit that was no finite number, or -1
  int32_t sequences;
  int32_t vocabulary;
} LatheCudaSample;

typedef struct LatheCudaApi {
  uint64_t bytes;             // of this table
  const char* architectures;  // what the kernels were compiled for: "sm_80 sm_90 compute_90"

  // LATHE_CUDA_OK where there is a GPU; no_driver, old_driver, no_device otherwise. What could be found out is written
  // in any case.
  int32_t (*describe)(LatheCudaSystem* system, LatheCudaMessage* message);
  // Looks without claiming the GPU's memory, but for what CUDA itself takes; other_device where no kernel runs on it.
  int32_t (*describe_device)(int32_t device, LatheCudaDevice* properties, LatheCudaMessage* message);
  // Launches a trivial kernel and compares what it wrote.
  int32_t (*self_test)(int32_t device, LatheCudaMessage* message);

  int32_t (*allocate)(int32_t device, uint64_t bytes, void** memory, LatheCudaMessage* message);
  int32_t (*release)(int32_t device, void* memory, LatheCudaMessage* message);  // null is nothing to do
  // Of the host, at addresses that copies of this device's streams need not wait for.
  int32_t (*allocate_host)(int32_t device, uint64_t bytes, void** memory, LatheCudaMessage* message);
  int32_t (*release_host)(int32_t device, void* memory, LatheCudaMessage* message);

  int32_t (*create_stream)(int32_t device, LatheCudaStream** stream, LatheCudaMessage* message);
  int32_t (*destroy_stream)(LatheCudaStream* stream, LatheCudaMessage* message);  // null is nothing to do
  // Waits for all work of the stream; a failure of any of it is returned here.
  int32_t (*synchronize)(LatheCudaStream* stream, LatheCudaMessage* message);

  // Host memory stays as it is until the stream is synchronised.
  int32_t (*copy_in)(LatheCudaStream* stream, void* to, const void* host, uint64_t bytes, LatheCudaMessage* message);
  int32_t (*copy_out)(LatheCudaStream* stream, void* host, const void* from, uint64_t bytes, LatheCudaMessage* message);
  int32_t (*copy_within)(LatheCudaStream* stream, void* to, const void* from, uint64_t bytes,
                         LatheCudaMessage* message);
  int32_t (*clear)(LatheCudaStream* stream, void* memory, uint64_t bytes, LatheCudaMessage* message);  // zeros

  int32_t (*linear_decode)(LatheCudaStream* stream, const LatheCudaLinearDecode* call, LatheCudaMessage* message);
  int32_t (*linear_prefill)(LatheCudaStream* stream, const LatheCudaLinearPrefill* call, LatheCudaMessage* message);
  int32_t (*paged_attention)(LatheCudaStream* stream, const LatheCudaPagedAttention* call, LatheCudaMessage* message);
  int32_t (*normalise)(LatheCudaStream* stream, const LatheCudaNormalise* call, LatheCudaMessage* message);
  int32_t (*combine)(LatheCudaStream* stream, const LatheCudaCombine* call, LatheCudaMessage* message);
  int32_t (*place_columns)(LatheCudaStream* stream, const LatheCudaPlaceColumns* call, LatheCudaMessage* message);
  int32_t (*look_up)(LatheCudaStream* stream, const LatheCudaLookUp* call, LatheCudaMessage* message);
  int32_t (*rotary_table)(LatheCudaStream* stream, const LatheCudaRotaryTable* call, LatheCudaMessage* message);
  // Weights of blocks: the same call with other formats, and rounding to integers too.
  int32_t (*linear_decode_blocks)(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                                  LatheCudaMessage* message);
  int32_t (*round_activations)(LatheCudaStream* stream, const LatheCudaRoundActivations* call,
                               LatheCudaMessage* message);
  int32_t (*linear_prefill_blocks)(LatheCudaStream* stream, const LatheCudaLinearPrefillBlocks* call,
                                   LatheCudaMessage* message);
  int32_t (*look_up_blocks)(LatheCudaStream* stream, const LatheCudaLookUpBlocks* call, LatheCudaMessage* message);
  int32_t (*sample)(LatheCudaStream* stream, const LatheCudaSample* call, LatheCudaMessage* message);
} LatheCudaApi;

// The hash the library was compiled with.
typedef const char* LatheCudaAbiHash(void);
// The table, which lives as long as the library is open. Looks at no driver. LATHE_CUDA_OTHER_BUILD for another hash.
typedef int32_t LatheCudaOpen(const char* abi_hash, const LatheCudaApi** api, LatheCudaMessage* message);

#define LATHE_CUDA_ABI_HASH_SYMBOL "lathe_cuda_abi_hash"
#define LATHE_CUDA_OPEN_SYMBOL "lathe_cuda_open"

#ifdef __cplusplus
}
#endif

#endif  // LATHE_BACKEND_CUDA_ABI_H_
