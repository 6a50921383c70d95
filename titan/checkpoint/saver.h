// One checkpoint after another, each written by all ranks together: every rank its part, and rank 0, once all have said
// that theirs is on the disk, the .metadata and the manifest that make it one. Either at once or behind the training's
// back. When to save, and what, is checkpointer.h's matter.
//
// [Note: how ranks agree on a save]
// A save may be under way in a thread while the main thread uses the process groups, so ranks speak through the store:
// each says "done", or what went wrong; rank 0 commits or abandons, and says so. A rank that dies says nothing: those
// that wait for it are ended by the launcher, or by the failure of the next collective.
//
// [Note: when an async save copies]
// What is saved changes in the optimizer's step alone. So the thread that writes also makes the copy, while the next
// forward and backward go on, and the optimizer waits for it (wait_until_copied) if it is not there by then. What is on
// a GPU is copied before save() returns, in the order of its stream.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "titan/checkpoint/checkpoint_folder.h"
#include "titan/checkpoint/save_plan.h"
#include "titan/checkpoint/shard_writer.h"
#include "titan/checkpoint/staging.h"

namespace c10d {
class Store;
}
namespace titan::distributed {
class World;
}

namespace titan::checkpoint {

struct SaverOptions {
  bool async = false;
  bool pinned = false;  // where the copy for an async save is
  int64_t num_threads = 1;
};

// What is to be saved: of this rank, copies that others hold too among it.
struct SaveRequest {
  int64_t step = 0;
  std::string contents;  // Manifest's
  std::vector<ShardItem> items;
  std::map<std::string, PlainValue> objects;
  // Of rank 0, may be empty: replaces the finished .distcp files and .metadata in `folder` by others, and says by
  // which.
  std::function<std::vector<WrittenFile>(const std::filesystem::path& folder)> rewrite;
  // Of rank 0, may be empty: once step-N is there.
  std::function<void()> then;
};

class Saver {
 public:
  // `world` null: this rank is alone.
  Saver(CheckpointFolder folder, std::shared_ptr<distributed::World> world, SaverOptions options);
  // Does not wait for the others: a save that is under way, unless wait() was called, is left incomplete.
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Collective. Waits for the one before. Returns once the checkpoint is on the disk; if async, once it is begun: the
  // items must not change before wait_until_copied(). Throws c10::Error, on every rank, with what went wrong on one of
  // them, in this or the one before; then no rank has changed step-N.
  void save(SaveRequest request);

  // Returns when what is under way needs the items no longer. Not collective; a copy that failed is told by wait().
  void wait_until_copied();

  // Returns when nothing is under way. Throws as save().
  void wait();
  // Throws, as save(), if what was under way has failed by now. Does not block.
  void check();

 private:
  distributed::World* talks() const { return num_ranks_ > 1 ? world_.get() : nullptr; }
  // What went wrong; empty if nothing did. With `copied`, the items are copied first.
  std::string run(SaveRequest request, int64_t serial, std::promise<void>* copied);
  std::string commit(const SaveRequest& request) const;
  void say(const std::string& key, const std::string& error) const;
  std::string wait_for(const std::string& key) const;

  CheckpointFolder folder_;
  std::shared_ptr<distributed::World> world_;
  c10::intrusive_ptr<c10d::Store> store_;  // a connection of its own; null where this rank is alone
  int64_t rank_ = 0, num_ranks_ = 1;
  SaverOptions options_;
  Staging staging_;
  std::map<std::string, SavePlan> plans_;  // by contents: they stay the same over a run
  int64_t num_saves_ = 0;
  std::atomic<bool> ends_ = false;
  std::future<void> copied_;
  std::future<std::string> under_way_;
};

}  // namespace titan::checkpoint
