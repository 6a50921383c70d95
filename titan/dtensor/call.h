// One call of an operator as a sharding rule sees it: the schema, the arguments, and for each tensor among them its
// global shape and how it is placed. No data: tensors are on the meta device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "titan/dtensor/placement.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

// [Note: plain tensors]
// A plain tensor that meets a DTensor counts as replicated where it surely is: numbers (0-dim tensors), and in a
// backward, where autograd's formulas make zeros and ones of the global shape. Anywhere else it is an error.

// A tensor among the arguments; one of a list is one of its own. Undefined and absent ones are left out.
struct Operand {
  int64_t argument = 0;        // index in the schema
  int64_t index = -1;          // in the argument's list, if it is one
  const Spec* spec = nullptr;  // null: a plain tensor, the same on every rank
  at::Tensor meta;             // of the global shape
  bool is_written = false;     // in place, or out=
  bool may_be_plain = false;   // [Note: plain tensors]

  at::IntArrayRef sizes() const { return meta.sizes(); }
  int64_t dim() const { return meta.dim(); }
  Placement placement(int64_t axis) const { return spec == nullptr ? replicate() : spec->placements[axis]; }
};

// A tensor among the results, which may be a list.
struct Output {
  int64_t result = 0;    // index in the schema's returns
  int64_t index = -1;    // in the list, if it is one
  int64_t operand = -1;  // the one that it is, if the call writes in place
  int64_t view_of = -1;  // the one whose memory it shares
  at::Tensor meta;       // of the global shape; undefined: there is none

  at::IntArrayRef sizes() const { return meta.sizes(); }
  int64_t dim() const { return meta.dim(); }
};

// How one axis of the mesh can take part, whatever the others do: a placement for each operand and for each output.
struct Strategy {
  Placements inputs, outputs;
};

class Call {
 public:
  const c10::FunctionSchema& schema;
  std::vector<c10::IValue> arguments;  // tensors are the operands' meta tensors; devices are meta
  std::vector<Operand> operands;       // in the arguments' order
  std::vector<Output> outputs;         // in the results' order
  MeshState* mesh = nullptr;           // of the first DTensor
  at::Device device = at::kCPU;        // its device

  // By the schema's names; a name that is not there is our mistake.
  const c10::IValue& argument(std::string_view name) const;
  bool has_argument(std::string_view name) const;
  int64_t integer(std::string_view name) const { return argument(name).toInt(); }
  bool boolean(std::string_view name) const { return argument(name).toBool(); }
  // A list of integers; one integer is a list of one, None an empty list.
  std::vector<int64_t> integers(std::string_view name) const;
  // A dimension of `operand`, counted from 0.
  int64_t dim(std::string_view name, const Operand& operand) const;

  // The operand at the argument of this name; null where it is None.
  const Operand* find(std::string_view name) const;
  const Operand& operand(std::string_view name) const;
  size_t index_of(std::string_view name) const;

  // Operands that are not named are replicated, and so are outputs beyond the last one given.
  Strategy strategy(std::initializer_list<std::pair<std::string_view, Placement>> inputs,
                    std::vector<Placement> outputs) const;
  // The one that always holds.
  Strategy replicated() const { return strategy({}, {}); }

  // The kinds of Partial that operands have, each once.
  std::vector<Placement> partials() const;

  // "aten::mm.out(f32[2, 3] (S(0), R), ...)": for messages.
  std::string text() const;
};

}  // namespace titan::dtensor
