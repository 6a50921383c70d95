// Which rank writes what. Ranks that hold the same box of the same tensor (replicas) share the work: each box is
// written by one of them, and those that have many replicas go to whoever has least to write. Nothing is said about
// names: a rank may hold tensors that others have never heard of (pipeline stages).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "titan/checkpoint/plain_value.h"
#include "titan/checkpoint/shard_writer.h"

namespace titan::distributed {
class ProcessGroup;
}

namespace titan::checkpoint {

// What every rank of the group (null: this one) has to say, in the order of ranks. Collective.
std::vector<std::string> gather_texts(const std::string& text, distributed::ProcessGroup* group);

// The items for what this rank holds of `tensors` as they are now, stored as `prefix` + name in `dtype` (none: as they
// are); floating-point ones only are converted. Boxes larger than a record become several. `data` of each refers to the
// tensor's memory.
void add_items(std::vector<ShardItem>& items, const std::string& prefix,
               const std::map<std::string, at::Tensor>& tensors, std::optional<c10::ScalarType> dtype = std::nullopt);

class SavePlan {
 public:
  // Collective over `group` (null: this rank is alone); what each rank holds may differ.
  SavePlan(const std::vector<ShardItem>& items, const std::map<std::string, PlainValue>& objects,
           distributed::ProcessGroup* group);

  // Whether the plan was made for these: same names, boxes and dtypes.
  bool fits(const std::vector<ShardItem>& items, const std::map<std::string, PlainValue>& objects) const;

  // This rank's part.
  std::vector<ShardItem> own_items(std::vector<ShardItem> items) const;
  std::map<std::string, PlainValue> own_objects(std::map<std::string, PlainValue> objects) const;

 private:
  std::vector<std::string> keys_;  // of the items, then of the objects
  std::vector<bool> is_own_;
};

}  // namespace titan::checkpoint
