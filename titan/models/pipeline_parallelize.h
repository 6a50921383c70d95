// Pipeline parallelism applied to a language model: which modules each stage has, which schedule runs them, and the
// ForwardBackward that does. It knows of the model what ModelParts tells, and of the other techniques what
// StageTechniques tells; what a schedule is and how it runs is parallel/pipeline's. See docs/pipeline_parallel.md.
#pragma once

#include <functional>
#include <memory>

#include "titan/models/model_spec.h"
#include "titan/models/parallelize.h"
#include "titan/parallel/pipeline/schedule/schedule.h"
#include "titan/parallel/pipeline/split.h"
#include "titan/parallel/pipeline/stage.h"

namespace titan::models {

// What [parallelism] makes of a model.
struct PipelinePlan {
  std::string description;        // of the schedule, for the log
  pipeline::Schedule schedule;    // of compute actions
  pipeline::StageModules stages;  // the modules of each
};

// Throws c10::ValueError, one line, for what makes no pipeline. `model`: whole.
PipelinePlan plan_pipeline(const config::JobConfig& job, LanguageModel& model);

// Adds such a line to `problems`, if a pipeline is asked for. For a model's check of a job whose sizes are right.
void check_pipeline(const config::JobConfig& job, std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&),
                    config::Problems& problems);

// What the techniques applied to a stage want to be told.
struct StageTechniques {
  pipeline::StageHooks hooks;
  // Before each of a step's batches, which the schedule runs once through.
  std::function<void(bool last)> before_batch = [](bool) {};
  // After the last one, before anyone looks at gradients. Collective.
  std::function<void()> after_backward = [] {};
};

// Applies everything else to a stage on the meta device. forwards_in_flight: that wait for their backward at a time, of
// all stages on this rank.
using ApplyToStage = std::function<StageTechniques(LanguageModel& stage, int64_t forwards_in_flight)>;

// Every rank calls it.
Parallelized parallelize_as_pipeline(const ModelToParallelize& model, const config::JobConfig& job,
                                     const distributed::DeviceMesh& mesh, const ApplyToStage& apply);

}  // namespace titan::models
