// The folder that holds a run's checkpoints, one sub-folder step-N each, and what makes one of them whole.
//
// [Note: atomic checkpoints]
// A checkpoint is written to .saving-N, every file and then the folder flushed to the disk, and renamed to step-N. So
// step-N is there wholly or not at all, whenever the process or the machine dies. train_state.json, written last, is
// the manifest: it has the size and CRC-32 of every file, and its own. What goes is first renamed to .removing-N, so
// that no half-removed step-N is ever seen. Leftovers of both kinds are removed when the next run starts; none is
// called step-N, which is all that this program and TorchTitan look for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "titan/checkpoint/safetensors_writer.h"

namespace titan::checkpoint {

struct Manifest {
  int64_t step = 0;
  bool model_only = false;
  std::map<std::string, int64_t> counters;  // TrainState's; empty where model_only
  std::vector<WrittenFile> files;
};

inline constexpr const char* kManifestName = "train_state.json";

// Throws c10::ValueError naming what is wrong with `checkpoint`/train_state.json.
Manifest read_manifest(const std::filesystem::path& checkpoint);

// Throws c10::ValueError naming the first file of `checkpoint` that is missing, of another size or checksum. Reads all.
void verify(const std::filesystem::path& checkpoint, const Manifest& manifest);

class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path step_path(int64_t step) const;

  // The N of every sub-folder step-N, whole or not, ascending. Empty if the folder is not there.
  std::vector<int64_t> steps() const;

  // Removes what crashed saves left behind, and moves back a checkpoint whose replacement was interrupted.
  void remove_leftovers() const;

  // Adds step-N: `write` gets an empty folder, fills it and returns the manifest, which is stored with it. Replaces a
  // step-N that is there. If `write` throws, nothing has changed. [Note: atomic checkpoints]
  void add(int64_t step, const std::function<Manifest(const std::filesystem::path& folder)>& write) const;

  // Removes the oldest checkpoints but `keep`, never `newest`, and only folders with a manifest: what others put here
  // stays. Those that are not whole do not count among the kept.
  void remove_old(int64_t keep, int64_t newest) const;

 private:
  std::filesystem::path path_;
};

}  // namespace titan::checkpoint
