#include "titan/profiling/flop_counter.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>

#include "titan/profiling/flop_formulas.h"

namespace titan::profiling {
namespace {

// Globals, since the dispatcher's callbacks are plain functions: who counts, and how deep this thread is inside
// operators that were counted.
std::atomic<FlopCounter*> g_counter = nullptr;
thread_local int64_t g_depth = 0;

// A DTensor has the sizes of the whole; what this rank does shows in the call on its local part, which comes next. On
// a meta tensor nothing is computed but the shape.
bool computes_nothing(const c10::IValue& value) {
  if (!value.isTensor() || !value.toTensor().defined()) return false;
  return value.toTensor().is_meta() || value.toTensor().key_set().has(c10::DispatchKey::Fake);
}

// Marks a call that was counted.
struct Counted : at::ObserverContext {};

}  // namespace

struct FlopCallbacks {
  // Returns a context for operators that are counted as a whole: what they call in turn is part of them.
  static std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& call) {
    FlopCounter* const counter = g_counter;
    const FlopFormula* const formula = find_flop_formula(call.name());
    const auto inputs = call.inputs();
    if (counter == nullptr || formula == nullptr || std::any_of(inputs.begin(), inputs.end(), computes_nothing))
      return {};
    if (g_depth++ == 0) {
      const auto schema = call.operator_schema();
      TORCH_INTERNAL_ASSERT(schema.has_value(), call.name(), " is no operator");
      (formula->is_attention() ? counter->attention_ : counter->matmul_) += formula->flops(*schema, inputs);
    }
    return std::make_unique<Counted>();
  }

  static void end(const at::RecordFunction&, at::ObserverContext* context) {
    if (context != nullptr) --g_depth;
  }
};

FlopCounter::FlopCounter() {
  FlopCounter* nobody = nullptr;
  TORCH_INTERNAL_ASSERT(g_counter.compare_exchange_strong(nobody, this), "there is a FlopCounter already");
  callbacks_ = at::addGlobalCallback(at::RecordFunctionCallback(&FlopCallbacks::start, &FlopCallbacks::end)
                                         .needsInputs(true)
                                         .scopes({at::RecordScope::FUNCTION}));
}

FlopCounter::~FlopCounter() {
  at::removeCallback(callbacks_);
  g_counter = nullptr;
}

}  // namespace titan::profiling
