// Between PyTorch's DCP and Hugging Face's safetensors, one tensor in memory at a time.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "titan/checkpoint/file_writer.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/checkpoint/train_state.h"

namespace titan::checkpoint {

// Writes the weights in `from`, which have our names (what a full checkpoint holds besides is passed over), into the
// folder `to`, which is there: model.safetensors, or several and their index, and config.json. `dtype`: what
// floating-point weights are stored in; none: as they are. Returns what was written. Throws c10::ValueError for a
// tensor that the model does not have.
std::vector<WrittenFile> convert_to_hugging_face(const TensorReader& from, const ForeignFormat& format,
                                                 const std::filesystem::path& to,
                                                 std::optional<c10::ScalarType> dtype = std::nullopt);

// The other way: writes the weights in `from`, which have Hugging Face's names, as a checkpoint of weights only. `to`
// is there wholly or not at all; c10::ValueError if it was there already.
void convert_from_hugging_face(const TensorReader& from, const ForeignFormat& format, const std::filesystem::path& to,
                               std::optional<c10::ScalarType> dtype = std::nullopt);

}  // namespace titan::checkpoint
