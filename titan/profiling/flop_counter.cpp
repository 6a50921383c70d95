#include "titan/profiling/flop_counter.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "titan/profiling/flop_formulas.h"

namespace titan::profiling {
namespace {

// Globals, since the dispatcher's callbacks are plain functions: who counts, and how deep this thread is inside
// operators that were counted.
std::atomic<FlopCounter*> g_counter = nullptr;
thread_local int64_t g_depth = 0;
// Whether the outermost of these was passed over, its results being there already.
thread_local bool g_was_passed_over = false;
// The mark that activation checkpointing leaves in such a call (activation_checkpoint/kept_results.cpp).
constexpr std::string_view kPassedOver = "titan::kept_results";

// A DTensor has the sizes of the whole; what this rank does shows in the call on its local part, which comes next. On
// a meta tensor nothing is computed but the shape.
bool computes_nothing(const c10::IValue& value) {
  if (!value.isTensor() || !value.toTensor().defined()) return false;
  return value.toTensor().is_meta() || value.toTensor().key_set().has(c10::DispatchKey::Fake);
}

// Of a call that counts if it runs.
struct Counted : at::ObserverContext {
  double flops = 0;
  bool is_attention = false;
};

}  // namespace

struct FlopCallbacks {
  // Returns a context for operators that are counted as a whole: what they call in turn is part of them.
  static std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& call) {
    if (call.scope() == at::RecordScope::USER_SCOPE) {
      if (call.name() == kPassedOver) g_was_passed_over = true;
      return {};
    }
    const FlopFormula* const formula = find_flop_formula(call.name());
    const auto inputs = call.inputs();
    if (formula == nullptr || std::any_of(inputs.begin(), inputs.end(), computes_nothing)) return {};
    auto counted = std::make_unique<Counted>();
    if (g_depth++ == 0) {
      const auto schema = call.operator_schema();
      TORCH_INTERNAL_ASSERT(schema.has_value(), call.name(), " is no operator");
      counted->flops = formula->flops(*schema, inputs);
      counted->is_attention = formula->is_attention();
      g_was_passed_over = false;
    }
    return counted;
  }

  static void end(const at::RecordFunction&, at::ObserverContext* context) {
    if (context == nullptr || --g_depth > 0) return;
    FlopCounter* const counter = g_counter;
    if (counter == nullptr || g_was_passed_over) return;
    const auto* const counted = static_cast<const Counted*>(context);
    (counted->is_attention ? counter->attention_ : counter->matmul_) += counted->flops;
  }
};

FlopCounter::FlopCounter() {
  FlopCounter* nobody = nullptr;
  TORCH_INTERNAL_ASSERT(g_counter.compare_exchange_strong(nobody, this), "there is a FlopCounter already");
  callbacks_ = at::addGlobalCallback(at::RecordFunctionCallback(&FlopCallbacks::start, &FlopCallbacks::end)
                                         .needsInputs(true)
                                         .scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
}

FlopCounter::~FlopCounter() {
  at::removeCallback(callbacks_);
  g_counter = nullptr;
}

}  // namespace titan::profiling
