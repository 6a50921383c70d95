// One step of a pipeline schedule, and its text in PyTorch's notation: "2F0" is the forward of stage 2 on microbatch 0,
// "3SEND_B1" sends what stage 3's backward of microbatch 1 made, "1UNSHARD" gathers stage 1's parameters,
// "(0F1;1B0)OVERLAP_F_B" runs a forward and a backward as one. It says what is done, not when and not by whom: that is
// the Schedule. The split of a backward into I and W is Qi et al. 2024 (arXiv 2401.10241), section 2.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace titan::pipeline {

enum class ActionKind : uint8_t {
  kForward,         // F
  kBackwardInput,   // I: gradients of the stage's inputs, which the stage before waits for
  kBackwardWeight,  // W: gradients of the stage's weights, which nobody waits for
  kFullBackward,    // B: I and W in one
  kOverlap,         // OVERLAP_F_B: one F and one B whose communication hides behind each other's computing
  kSendForward,     // SEND_F
  kRecvForward,     // RECV_F
  kSendBackward,    // SEND_B
  kRecvBackward,    // RECV_B
  kUnshard,         // UNSHARD
  kReshard,         // RESHARD
  kReduceGrad,      // REDUCE_GRAD: reduce the gradients summed over all microbatches
};

struct Action {
  int64_t stage = 0;
  ActionKind kind = ActionKind::kForward;
  int64_t microbatch = kNone;  // kNone: of the stage as a whole (UNSHARD, RESHARD, REDUCE_GRAD) or of the parts
  std::vector<Action> parts;   // of OVERLAP_F_B: its F, then its B; its own stage is kNone

  static constexpr int64_t kNone = -1;
  bool operator==(const Action& other) const;
};

// The field's letters, so that a schedule reads like its figure.
inline Action F(int64_t stage, int64_t microbatch) { return {stage, ActionKind::kForward, microbatch, {}}; }
inline Action I(int64_t stage, int64_t microbatch) { return {stage, ActionKind::kBackwardInput, microbatch, {}}; }
inline Action W(int64_t stage, int64_t microbatch) { return {stage, ActionKind::kBackwardWeight, microbatch, {}}; }
inline Action B(int64_t stage, int64_t microbatch) { return {stage, ActionKind::kFullBackward, microbatch, {}}; }
Action overlap(Action forward, Action backward);

// F, I, W, B and OVERLAP_F_B: what a schedule orders. The others are added by lower().
bool is_compute(ActionKind kind);

// Of OVERLAP_F_B its two parts, of any other action itself. The span lives as long as `action`.
std::span<const Action> parts_of(const Action& action);

std::string to_string(const Action& action);

// The inverse of to_string; blanks around it are allowed. Throws c10::ValueError, one line that names `text`.
Action parse_action(std::string_view text);

}  // namespace titan::pipeline
