// Sharding rules: how an operator on DTensors becomes the same operator on local parts. A rule states facts about the
// operator's mathematics; what to send for it is planned from them (plan.h). Tables of rules are in rules/, one file
// for a family of operators.
//
// A rule comes in one of two forms.
// - `per_axis` lists the strategies that hold for one axis of the mesh whatever the others do. Of all combinations over
//   the axes the planner takes the one that sends least. For mm(self, mat2):
//     R, R -> R;   S(0), R -> S(0);   R, S(1) -> S(1);   S(1), S(0) -> P(sum);   P(sum), R -> P(sum);   R, P -> P
//   The one that replicates everything need not be listed: it always holds. A strategy with Shard(d) holds for
//   StridedShard(d, f) too, on all its shards alike, since local parts then have the same order of elements.
// - `whole_mesh` is given how the operands are placed and says how they must be, for operators where axes or the sizes
//   of shards matter together (views that join or split dimensions; foreach, where each tensor has a mesh of its own).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "titan/dtensor/call.h"

namespace c10 {
class OperatorHandle;
}
namespace torch::jit {
using Stack = std::vector<c10::IValue>;
}

namespace titan::dtensor {

// How all operands must be placed, and how the outputs then are.
struct Sharding {
  std::vector<Placements> inputs, outputs;  // those of plain tensors are ignored
  std::vector<MeshState*> output_meshes;    // null: a plain tensor. Empty: all on the call's mesh
};

// The same, worked out. null: a plain tensor.
struct Placed {
  std::vector<const Spec*> inputs, outputs;
};

// Runs on the local arguments (the schema's, on the stack) and leaves the local results.
using LocalKernel = std::function<void(const c10::OperatorHandle& op, torch::jit::Stack& stack)>;

struct Rule {
  std::vector<Strategy> (*per_axis)(const Call& call) = nullptr;
  // Whether a combination of strategies holds, for what several axes do to one dimension together. None: always.
  bool (*fits)(const Call& call, const std::vector<Placements>& inputs) = nullptr;
  Sharding (*whole_mesh)(const Call& call) = nullptr;

  // Changes arguments that mean global sizes into local ones. Runs once per plan; `arguments` are the call's, where
  // tensors do not count.
  void (*local_arguments)(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) = nullptr;

  // Makes what runs instead of the operator itself, once per plan. An empty function: the operator itself.
  LocalKernel (*kernel)(const Call& call, const Placed& placed) = nullptr;

  // Meta tensors like the outputs, for operators that do not run on the meta device.
  std::vector<at::Tensor> (*outputs)(const Call& call) = nullptr;

  // Whether numbers (Scalar, float) among the arguments decide how the operator is sharded. Integers, booleans, dtypes
  // and texts always count.
  bool numbers_matter = false;
  // The argument that is written but not for the caller to read: it may be redistributed all the same.
  std::string_view scratch;
  // Whether operands may be on different meshes.
  bool several_meshes = false;
  // Runs ATen's implementation by other operators, which have rules.
  bool decompose = false;
};

// Rules by operator, "aten::add.Tensor". Filled once by the families (rules/families.h).
class RuleTable {
 public:
  // `family` is for the documentation.
  void begin_family(std::string family) { family_ = std::move(family); }
  void add(std::initializer_list<std::string_view> operators, const Rule& rule);
  // The same for the in-place and out= variants that ATen has of them: of aten::add.Tensor, aten::add_.Tensor and
  // aten::add.out.
  void add_with_variants(std::initializer_list<std::string_view> operators, const Rule& rule);

  const Rule* find(std::string_view op) const;

  struct Entry {
    Rule rule;
    std::string family;
  };
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }

 private:
  std::string family_;
  std::map<std::string, Entry, std::less<>> entries_;
};

// All rules.
const RuleTable& rule_table();

}  // namespace titan::dtensor
