//! `row_number`, `rank` and `dense_rank` for the planner. It only types the call: [`crate::compile::rank`] lowers it
//! to an operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion_physical_expr::PhysicalExpr;

use crate::plan::Number;

/// The function of this name.
pub(in crate::compile) fn function(name: &str) -> Option<Arc<WindowUDF>> {
    let number = Number::named(name)?;
    Some(Arc::new(WindowUDF::new_from_impl(Rank {
        number,
        signature: Signature::nullary(Volatility::Immutable),
    })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rank {
    number: Number,
    signature: Signature,
}

impl WindowUDFImpl for Rank {
    fn name(&self) -> &str {
        self.number.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Err(DataFusionError::Internal(format!("{} is an operator of its own", self.name())))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, false)))
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}
