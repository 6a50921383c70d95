// What `titan checkpoint` tells of checkpoints on disk, of any format, one tensor in memory at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "titan/checkpoint/checkpoint_folder.h"

namespace titan::checkpoint {

// One line for each checkpoint of a folder, the oldest first: step, what it holds, size, state.
std::vector<std::string> list(const CheckpointFolder& folder);

// Every tensor with dtype and shape, every object with its value where that is plain, and in how many pieces they lie.
std::vector<std::string> describe(const std::filesystem::path& checkpoint);

// Reads every byte that has a checksum and every object. Returns a summary; throws c10::ValueError at the first damage.
std::string verify_contents(const std::filesystem::path& checkpoint);

// How far the tensors of two checkpoints are apart: one line for each that is missing from one of them, of another
// shape, or different, with ||a - b||_2 / ||b||_2 in fp64. Empty if they hold the same. Objects are compared by value.
std::vector<std::string> differences(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace titan::checkpoint
