// A simulated schedule for people: a table with a line of cells per rank, CSV for other programs, a drawing.
#pragma once

#include <string>

#include "titan/parallel/pipeline/schedule/simulate.h"

namespace titan::pipeline {

struct Simulation {
  std::string name;
  Schedule schedule;
  ActionCosts costs;
  Timeline timeline;  // of simulate(schedule, costs), without deadlock
};

// "1F1B: 4 ranks, 4 stages, 8 microbatches; F 1, I 1, W 1, COMM 0; idle 27.3%"
std::string headline(const Simulation& simulation);

// The headline, a line of figures per rank, and the timeline in cells as long as the shortest action, if it has at most
// 1000 of them.
std::string to_text(const Simulation& simulation);

// rank,action,start,end
std::string to_timeline_csv(const Simulation& simulation);

// An SVG file: time goes right, a row per rank, each action with its microbatch. An OVERLAP_F_B is cut in two, F above
// B; a rank's first stage is pale, later ones are not.
std::string to_svg(const Simulation& simulation);

}  // namespace titan::pipeline
