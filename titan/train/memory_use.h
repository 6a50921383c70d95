// Who holds a device's memory, for the one line that a run ends with when there is not enough.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace titan::train {

struct Holder {
  std::string name;
  int64_t bytes = 0;
};

// Bytes of the storages behind `tensors` (DTensors: of this rank's parts), each counted once, where it lies on
// `device`.
int64_t bytes_of(const std::map<std::string, at::Tensor>& tensors, at::Device device);

// "step 3: out of memory on NVIDIA H100: 2.00 GiB more were asked for; 70.00 GiB of 79.18 GiB were in use: activations
// and temporaries 47.60 GiB, optimizer states 11.20 GiB, ...; <what to do>", the largest holder first. `error` is the
// allocator's own; `holders` are those known by name, and what else was in use counts as activations and temporaries.
std::string describe_out_of_memory(const c10::OutOfMemoryError& error, const std::string& when,
                                   const std::string& device_name, int64_t bytes_in_use, int64_t capacity_bytes,
                                   std::vector<Holder> holders);

}  // namespace titan::train
