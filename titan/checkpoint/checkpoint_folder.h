// The folder that holds a run's checkpoints, one sub-folder step-N each, and what makes one of them whole.
//
// [Note: atomic checkpoints]
// A checkpoint is written to .saving-N, every file and then the folder flushed to the disk, and renamed to step-N. So
// step-N is there wholly or not at all, whenever a process or the machine dies. The manifest (manifest.h), written
// last, has size and checksums of every file, and its own. What goes is first renamed to .removing-N, so that no
// half-removed step-N is ever seen. Leftovers of both kinds are removed when the next run starts; none is called
// step-N, which is all that this program and TorchTitan look for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "titan/checkpoint/manifest.h"

namespace titan::checkpoint {

class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path step_path(int64_t step) const;
  // Where step-N is while it is being written.
  std::filesystem::path saving_path(int64_t step) const;

  // The N of every sub-folder step-N, whole or not, ascending. Empty if the folder is not there.
  std::vector<int64_t> steps() const;

  // Removes what crashed saves left behind, and moves back a checkpoint whose replacement was interrupted.
  void remove_leftovers() const;

  // An empty folder for the files of step-N, beside the one of that name that may be there already. Throws c10::Error
  // if it cannot be made. [Note: atomic checkpoints]
  std::filesystem::path begin(int64_t step) const;
  // Makes what was written there step-N, in place of an older one. The manifest has every file.
  void commit(int64_t step, const Manifest& manifest) const;
  // Removes what was written there, as far as that is possible: a full disk should not stay full. Does not throw.
  void abandon(int64_t step) const;

  // Removes the oldest checkpoints but `keep`, never `newest`, and only folders with a manifest: what others put here
  // stays. Those that are not whole do not count among the kept.
  void remove_old(int64_t keep, int64_t newest) const;

 private:
  std::filesystem::path path_;
};

}  // namespace titan::checkpoint
