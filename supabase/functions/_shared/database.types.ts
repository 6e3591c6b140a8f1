│
▲  Connected to 127.0.0.1 without TLS: the TLS connection failed or was rejected. Set PGSSLMODE=require (or verify-full) to refuse unencrypted connections.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  
  "analytics": {
          Tables: {
            [_ in never]: never
          }
          Views: {
            "agent_load": {
                  Row: {
                    "account_id": number,"agent_id": number | null,"agent_name": string | null,"load_points": number | null,"longest_wait": number | null,"n_excluded": number | null,"n_included": number | null,"n_waiting": number | null,"open": number | null,"pending": number | null,"snoozed": number | null,"urgent_waiting": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"agents": {
                  Row: {
                    "account_id": number | null,"agent_id": number | null,"agent_name": string | null,"csat": number | null,"csat_answered": number | null,"csat_high": number | null,"csat_low": number | null,"csat_positive": number | null,"csat_shrunken": number | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"first_replies": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"held": number | null,"held_business": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"n_waiting": number | null,"replies": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"resolved": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"ai_episodes": {
                  Row: {
                    "account_id": number,"ai_answered": boolean | null,"ai_class": string | null,"close_reason": string | null,"csat_rating": number | null,"display_id": number,"episode": number,"inbox_id": number | null,"is_confirmed": boolean | null,"is_durable": boolean | null,"is_excluded": boolean | null,"silence_before_close": number | null,"started_at": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"ai_outcomes": {
                  Row: {
                    "abandoned": number | null,"account_id": number | null,"answer_rate": number | null,"answered": number | null,"assisted": number | null,"automation_rate": number | null,"claimed_rate": number | null,"claimed_resolved": number | null,"closed_after_last_answer": number | null,"closed_by_inactivity": number | null,"closed_customer_spoke_last": number | null,"confirmed": number | null,"confirmed_rate": number | null,"day": string | null,"durable": number | null,"durable_share": number | null,"durable_share_high": number | null,"durable_share_low": number | null,"eligible": number | null,"handed_off": number | null,"inbox_id": number | null,"inbox_name": string | null,"involved": number | null,"involvement_rate": number | null,"n_excluded": number | null,"n_included": number | null,"not_durable": number | null,"time_zone": string | null,"undecided": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"backlog_age": {
                  Row: {
                    "account_id": number,"age_p50": number | null,"age_p75": number | null,"age_p90": number | null,"age_p95": number | null,"inbox_id": number | null,"inbox_name": string | null,"n_excluded": number | null,"n_included": number | null,"since_reply_n": number | null,"since_reply_p50": number | null,"since_reply_p75": number | null,"since_reply_p90": number | null,"since_reply_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"backlog_by_day": {
                  Row: {
                    "account_id": number | null,"backlog_end": number | null,"backlog_start": number | null,"bot_end": number | null,"created": number | null,"day": string | null,"n_excluded": number | null,"n_included": number | null,"open_end": number | null,"pending_end": number | null,"reopened": number | null,"resolved": number | null,"snoozed_end": number | null,"third_party_end": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"backlog_now": {
                  Row: {
                    "account_id": number,"age_p50": number | null,"age_p75": number | null,"age_p90": number | null,"age_p95": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_wait": number | null,"n_excluded": number | null,"n_included": number | null,"n_waiting": number | null,"open": number | null,"pending": number | null,"snoozed": number | null,"team_id": number | null,"team_name": string | null,"unassigned": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"channel_breakdown": {
                  Row: {
                    "account_id": number,"channel": string | null,"conversations": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_waiting_since": string | null,"n_excluded": number | null,"n_included": number | null,"open_conversations": number | null,"pending_conversations": number | null,"resolved_conversations": number | null,"share": number | null,"snoozed_conversations": number | null,"waiting_conversations": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"channels": {
                  Row: {
                    "account_id": number | null,"asked": number | null,"channel": string | null,"closed_unreplied": number | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"longest_wait": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"n_resolved": number | null,"n_unresolved": number | null,"n_waiting": number | null,"reopened": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"time_zone": string | null,"ttr_full_business_p50": number | null,"ttr_full_business_p75": number | null,"ttr_full_business_p90": number | null,"ttr_full_business_p95": number | null,"ttr_full_mean": number | null,"ttr_full_n": number | null,"ttr_full_p50": number | null,"ttr_full_p75": number | null,"ttr_full_p90": number | null,"ttr_full_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"conversations": {
                  Row: {
                    "account_id": number,"additional_attributes": Json | null,"agent_wait": number | null,"agent_wait_business": number | null,"agent_work": number | null,"agent_work_business": number | null,"as_of": string | null,"assignee_id": number | null,"assignee_kind": string | null,"assignee_name": string | null,"assignees": number | null,"bot_phase": number | null,"bot_phase_business": number | null,"bot_replies": number | null,"bot_reply_time": (number)[] | null,"bot_reply_time_business": (number)[] | null,"calendar_id": number | null,"channel": string | null,"closed_unreplied": boolean | null,"contact_id": number | null,"contact_name": string | null,"created_at": string | null,"custom_attributes": Json | null,"customer_messages": number | null,"deleted_at": string | null,"display_id": number,"durable": boolean | null,"episodes": number | null,"fcr": boolean | null,"first_assignment_to_resolve": number | null,"first_assignment_to_resolve_business": number | null,"first_reply_author": number | null,"first_reply_created_at": string | null,"flags": (string)[] | null,"frt": number | null,"frt_any": number | null,"frt_any_business": number | null,"frt_business": number | null,"frt_customer": number | null,"frt_customer_business": number | null,"handoff_s": number | null,"handoff_s_business": number | null,"human_replies": number | null,"inbox_id": number | null,"inbox_name": string | null,"labels": (string)[] | null,"last_activity_at": string | null,"last_assignment_to_resolve": number | null,"last_assignment_to_resolve_business": number | null,"last_started_at": string | null,"notes": number | null,"on_hold": number | null,"on_hold_business": number | null,"one_touch": boolean | null,"one_turn": boolean | null,"priority": string | null,"reassignments": number | null,"refreshed_at": string | null,"reopens": number | null,"reopens_raw": number | null,"replied": boolean | null,"reply_time": (number)[] | null,"reply_time_business": (number)[] | null,"requester_wait": number | null,"requester_wait_business": number | null,"resolutions": number | null,"resolved_by_id": number | null,"resolved_by_kind": string | null,"snoozed_until": string | null,"started_at": string | null,"stations": number | null,"status": string | null,"team_id": number | null,"team_name": string | null,"ttr_active": number | null,"ttr_active_business": number | null,"ttr_first": number | null,"ttr_first_business": number | null,"ttr_full": number | null,"ttr_full_business": number | null,"ttr_human": number | null,"ttr_human_business": number | null,"turns": number | null,"unassigned_s": number | null,"unassigned_s_business": number | null,"updated_at": string | null,"wait_current": number | null,"wait_current_business": number | null,"wait_longest": number | null,"wait_longest_business": number | null,"wait_total": number | null,"wait_total_business": number | null,"waiting": boolean | null,"waiting_since": string | null,"zero_touch": boolean | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"csat": {
                  Row: {
                    "account_id": number,"answered_at": string | null,"answered_by": string | null,"author_id": number | null,"author_name": string | null,"channel": string | null,"display_id": number,"episode": number,"first_rating": number | null,"flip": string | null,"inbox_id": number | null,"is_excluded": boolean | null,"is_positive": boolean | null,"rating": number | null,"started_at": string,"surveyed_at": string | null,"team_id": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"csat_by_month": {
                  Row: {
                    "account_id": number,"answered": number | null,"author_id": number | null,"author_name": string | null,"csat": number | null,"csat_high": number | null,"csat_low": number | null,"csat_shrunken": number | null,"csat_without_neutral": number | null,"delivered": number | null,"improved": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"neutral": number | null,"positive": number | null,"rating_mean": number | null,"rating_sum": number | null,"response_rate": number | null,"time_zone": string | null,"worsened": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"days": {
                  Row: {
                    "account_id": number | null,"day": string | null,"ends_at": string | null,"starts_at": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"draft_hold_out": {
                  Row: {
                    "account_id": number,"category": string | null,"hold_out_n": number | null,"hold_out_reply_seconds_p50": number | null,"hold_out_resolution_n": number | null,"hold_out_resolution_seconds_p50": number | null,"seconds_saved": number | null,"seconds_saved_high": number | null,"seconds_saved_low": number | null,"shown_n": number | null,"shown_reply_seconds_p50": number | null,"shown_resolution_n": number | null,"shown_resolution_seconds_p50": number | null,"since": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"draft_performance": {
                  Row: {
                    "abstained": number | null,"acceptance": number | null,"acceptance_high": number | null,"acceptance_low": number | null,"accepted": number | null,"accepted_rated": number | null,"accepted_resolved": number | null,"account_id": number | null,"approved": number | null,"approved_quickly": number | null,"arm": string | null,"by": string | null,"coverage": number | null,"coverage_high": number | null,"coverage_low": number | null,"csat_accepted": number | null,"csat_accepted_high": number | null,"csat_accepted_low": number | null,"csat_own": number | null,"csat_own_high": number | null,"csat_own_low": number | null,"discarded": number | null,"drafts": number | null,"edit_ratio_mean": number | null,"edit_ratio_p50": number | null,"edit_ratio_weighted": number | null,"eligible": number | null,"expired": number | null,"heavy": number | null,"light": number | null,"n_excluded": number | null,"n_included": number | null,"n_undecided": number | null,"name": string | null,"own_rated": number | null,"own_resolved": number | null,"ready": number | null,"reopen_rate_accepted": number | null,"reopen_rate_accepted_high": number | null,"reopen_rate_accepted_low": number | null,"reopen_rate_own": number | null,"reopen_rate_own_high": number | null,"reopen_rate_own_low": number | null,"rewrite": number | null,"seconds_to_approve_p50": number | null,"seconds_to_draft_p50": number | null,"shown": number | null,"superseded": number | null,"use_rate": number | null,"use_rate_high": number | null,"use_rate_low": number | null,"used": number | null,"value": string | null,"verbatim": number | null,"verbatim_rate": number | null,"verbatim_rate_high": number | null,"verbatim_rate_low": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"drafts": {
                  Row: {
                    "account_id": number,"agent_id": number | null,"agent_name": string | null,"arm": string | null,"category": string | null,"confidence": number | null,"created_at": string,"csat_rating": number | null,"customer_message_at": string,"customer_message_id": number,"decided_at": string | null,"decided_by": string | null,"display_id": number,"draft_id": number,"draft_length": number | null,"edit_distance": number | null,"edit_method": string | null,"edit_ratio": number | null,"episode": number,"excluded_as": string | null,"gold_reply_id": number | null,"gold_reply_title": string | null,"gold_reply_version": number | null,"grade_accuracy": number | null,"grade_policy": number | null,"grade_tone": number | null,"inbox_id": number | null,"is_accepted": boolean | null,"is_eligible": boolean | null,"is_final": boolean,"is_override": boolean | null,"is_quick_approval": boolean | null,"is_ready": boolean | null,"is_reopened": boolean | null,"is_shown": boolean | null,"is_used": boolean | null,"language": string | null,"maker": string,"maker_version": string,"outcome": string | null,"outcome_at": string | null,"reason": string | null,"reopened_at": string | null,"replied_at": string | null,"reply_message_id": number | null,"reply_seconds": number | null,"resolution_seconds": number | null,"resolved_at": string | null,"seconds_to_approve": number | null,"seconds_to_draft": number | null,"sent_length": number | null,"shown_at": string | null,"shown_by": string | null,"state": string,"waiting_since": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"episodes": {
                  Row: {
                    "account_id": number,"agent_wait": number | null,"agent_wait_business": number | null,"agent_work": number | null,"agent_work_business": number | null,"ai_answered": boolean | null,"ai_class": string | null,"ai_eligible": boolean | null,"ai_involved": boolean | null,"as_of": string | null,"assignees": number | null,"bot_phase": number | null,"bot_phase_business": number | null,"bot_replies": number,"bot_reply_time": (number)[] | null,"bot_reply_time_business": (number)[] | null,"calendar_id": number | null,"channel": string | null,"closed_unreplied": boolean | null,"contact_id": number | null,"csat_answered_at": string | null,"csat_author": number | null,"csat_rating": number | null,"customer_messages": number,"display_id": number,"durable": boolean | null,"ended_at": string | null,"episode": number,"fcr": boolean | null,"first_assignment_to_resolve": number | null,"first_assignment_to_resolve_business": number | null,"first_customer_at": string | null,"first_human_at": string | null,"first_reply_author": number | null,"first_resolved_at": string | null,"flags": (string)[] | null,"frt": number | null,"frt_any": number | null,"frt_any_business": number | null,"frt_business": number | null,"frt_customer": number | null,"frt_customer_business": number | null,"handed_off_at": string | null,"handoff_s": number | null,"handoff_s_business": number | null,"holder": string | null,"human_replies": number,"inbox_id": number | null,"is_outbound": boolean | null,"labels": (string)[] | null,"last_assignment_to_resolve": number | null,"last_assignment_to_resolve_business": number | null,"last_author": number | null,"last_resolved_at": string | null,"notes": number,"on_hold": number | null,"on_hold_business": number | null,"one_touch": boolean | null,"one_turn": boolean | null,"priority": string | null,"reassignments": number,"reopens": number,"reopens_until": number,"replied": boolean | null,"reply_time": (number)[] | null,"reply_time_business": (number)[] | null,"requester_wait": number | null,"requester_wait_business": number | null,"resolutions": number,"resolutions_until": number,"resolved_by_id": number | null,"resolved_by_kind": string | null,"started_at": string,"stations": number,"status": string,"surveyed": boolean | null,"team_id": number | null,"ttr_active": number | null,"ttr_active_business": number | null,"ttr_first": number | null,"ttr_first_business": number | null,"ttr_full": number | null,"ttr_full_business": number | null,"ttr_human": number | null,"ttr_human_business": number | null,"turns": number,"unassigned_s": number | null,"unassigned_s_business": number | null,"wait_current": number | null,"wait_current_business": number | null,"wait_longest": number | null,"wait_longest_business": number | null,"wait_total": number | null,"wait_total_business": number | null,"waiting": boolean | null,"waiting_since": string | null,"zero_touch": boolean | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"episodes_by_day": {
                  Row: {
                    "account_id": number | null,"contacts_helped": number | null,"conversations_resolved": number | null,"day": string | null,"episodes_created": number | null,"inbox_id": number | null,"inbox_name": string | null,"n_excluded": number | null,"n_included": number | null,"outbound_started": number | null,"reopened": number | null,"resolutions": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"events": {
                  Row: {
                    "account_id": number,"actor_id": number | null,"actor_kind": string | null,"assignee_at_event": string | null,"class": string | null,"display_id": number,"event_id": number,"kind": string,"learnt_at": string,"occurred_at": string,"place": number,"previous": string,"source": string,"source_id": string,"value": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"actor_id"?: number | null,"actor_kind"?: string | null,"assignee_at_event"?: never,"class"?: string | null,"display_id"?: number | null,"event_id"?: number | null,"kind"?: string | null,"learnt_at"?: string | null,"occurred_at"?: string | null,"place"?: number | null,"previous"?: string | null,"source"?: string | null,"source_id"?: string | null,"value"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"actor_id"?: number | null,"actor_kind"?: string | null,"assignee_at_event"?: never,"class"?: string | null,"display_id"?: number | null,"event_id"?: number | null,"kind"?: string | null,"learnt_at"?: string | null,"occurred_at"?: string | null,"place"?: number | null,"previous"?: string | null,"source"?: string | null,"source_id"?: string | null,"value"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"exclusions": {
                  Row: {
                    "account_id": number | null,"day": string | null,"episodes": number | null,"reason": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"gold_reply_edits": {
                  Row: {
                    "account_id": number,"edit_ratio_p50": number | null,"edited": number | null,"edits": Json | null,"gold_reply_id": number | null,"is_current": boolean | null,"rewritten": number | null,"rewritten_rate": number | null,"rewritten_rate_high": number | null,"rewritten_rate_low": number | null,"title": string,"used": number | null,"version": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"hour_of_week": {
                  Row: {
                    "account_id": number | null,"episodes_created": number | null,"episodes_per_hour": number | null,"hour": number | null,"hours": number | null,"n_excluded": number | null,"n_included": number | null,"time_zone": string | null,"weekday": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"inbox_health": {
                  Row: {
                    "account_id": number,"conflicts": number | null,"deliveries": number | null,"lag_seconds_median": number | null,"lag_seconds_p95": number | null,"last_received_at": string | null,"most_frequent_reason": string | null,"outcome": string,"redeliveries": number | null,"seconds_since_last": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"inboxes": {
                  Row: {
                    "account_id": number | null,"asked": number | null,"closed_unreplied": number | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_wait": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"n_resolved": number | null,"n_unresolved": number | null,"n_waiting": number | null,"reopened": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"time_zone": string | null,"ttr_full_business_p50": number | null,"ttr_full_business_p75": number | null,"ttr_full_business_p90": number | null,"ttr_full_business_p95": number | null,"ttr_full_mean": number | null,"ttr_full_n": number | null,"ttr_full_p50": number | null,"ttr_full_p75": number | null,"ttr_full_p90": number | null,"ttr_full_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"labels": {
                  Row: {
                    "account_id": number | null,"asked": number | null,"closed_unreplied": number | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"label": string | null,"longest_wait": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"n_resolved": number | null,"n_unresolved": number | null,"n_waiting": number | null,"reopened": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"time_zone": string | null,"ttr_full_business_p50": number | null,"ttr_full_business_p75": number | null,"ttr_full_business_p90": number | null,"ttr_full_business_p95": number | null,"ttr_full_mean": number | null,"ttr_full_n": number | null,"ttr_full_p50": number | null,"ttr_full_p75": number | null,"ttr_full_p90": number | null,"ttr_full_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"live_status": {
                  Row: {
                    "account_id": number | null,"agents": Json | null,"alerts": Json | null,"as_of": string | null,"channels": Json | null,"checked_at": string | null,"conversations": Json | null,"response_times": Json | null,"service": Json | null,"service_state": string | null,"sla": Json | null,"sla_compliance": number | null,"time_zone": string | null,"uptime_30d": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"messages": {
                  Row: {
                    "account_id": number,"attachment_count": number | null,"attachments": Json | null,"content": string | null,"content_attributes": Json | null,"content_type": string | null,"created_at": string | null,"csat_feedback": string | null,"csat_rating": number | null,"deleted_at": string | null,"delivery_status": string | null,"display_id": number,"inbox_id": number | null,"is_private": boolean | null,"message_id": number,"message_type": string | null,"sender_id": number | null,"sender_kind": string | null,"sender_name": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"months": {
                  Row: {
                    "account_id": number | null,"ends_at": string | null,"month": string | null,"starts_at": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"reopen_rates": {
                  Row: {
                    "account_id": number | null,"day": string | null,"durable": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"first_resolved": number | null,"first_resolved_mature": number | null,"inbox_id": number | null,"inbox_name": string | null,"n_excluded": number | null,"n_included": number | null,"reopen_rate": number | null,"reopen_rate_high": number | null,"reopen_rate_low": number | null,"reopened": number | null,"reopened_mature": number | null,"resolutions_mature": number | null,"team_id": number | null,"team_name": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"reply_survival": {
                  Row: {
                    "account_id": number | null,"frt_median": number | null,"frt_p50": number | null,"inbox_id": number | null,"inbox_name": string | null,"month": string | null,"n_closed": number | null,"n_excluded": number | null,"n_included": number | null,"n_replied": number | null,"n_waiting": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"reporting_reconciliation": {
                  Row: {
                    "account_id": number,"cause": string | null,"cause_business": string | null,"cause_credit": string | null,"cause_window": string | null,"credited_to": number | null,"difference": number | null,"difference_business": number | null,"display_id": number | null,"done_by": number | null,"ended_at": string | null,"episode": number | null,"event_id": number,"metric": string | null,"ours": number | null,"ours_business": number | null,"theirs": number | null,"theirs_business": number | null,"written_at": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"resolution_times": {
                  Row: {
                    "account_id": number | null,"day": string | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"inbox_id": number | null,"inbox_name": string | null,"n_excluded": number | null,"n_included": number | null,"n_resolved": number | null,"n_unresolved": number | null,"reopened": number | null,"team_id": number | null,"team_name": string | null,"time_zone": string | null,"ttr_active_business_p50": number | null,"ttr_active_business_p75": number | null,"ttr_active_business_p90": number | null,"ttr_active_business_p95": number | null,"ttr_active_mean": number | null,"ttr_active_n": number | null,"ttr_active_p50": number | null,"ttr_active_p75": number | null,"ttr_active_p90": number | null,"ttr_active_p95": number | null,"ttr_first_business_p50": number | null,"ttr_first_business_p75": number | null,"ttr_first_business_p90": number | null,"ttr_first_business_p95": number | null,"ttr_first_mean": number | null,"ttr_first_n": number | null,"ttr_first_p50": number | null,"ttr_first_p75": number | null,"ttr_first_p90": number | null,"ttr_first_p95": number | null,"ttr_full_business_p50": number | null,"ttr_full_business_p75": number | null,"ttr_full_business_p90": number | null,"ttr_full_business_p95": number | null,"ttr_full_mean": number | null,"ttr_full_n": number | null,"ttr_full_p50": number | null,"ttr_full_p75": number | null,"ttr_full_p90": number | null,"ttr_full_p95": number | null,"ttr_human_business_p50": number | null,"ttr_human_business_p75": number | null,"ttr_human_business_p90": number | null,"ttr_human_business_p95": number | null,"ttr_human_mean": number | null,"ttr_human_n": number | null,"ttr_human_p50": number | null,"ttr_human_p75": number | null,"ttr_human_p90": number | null,"ttr_human_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"response_times": {
                  Row: {
                    "account_id": number | null,"asked": number | null,"closed_unreplied": number | null,"day": string | null,"frt_any_business_p50": number | null,"frt_any_business_p75": number | null,"frt_any_business_p90": number | null,"frt_any_business_p95": number | null,"frt_any_mean": number | null,"frt_any_n": number | null,"frt_any_p50": number | null,"frt_any_p75": number | null,"frt_any_p90": number | null,"frt_any_p95": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_customer_business_p50": number | null,"frt_customer_business_p75": number | null,"frt_customer_business_p90": number | null,"frt_customer_business_p95": number | null,"frt_customer_mean": number | null,"frt_customer_n": number | null,"frt_customer_p50": number | null,"frt_customer_p75": number | null,"frt_customer_p90": number | null,"frt_customer_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_wait": number | null,"n_excluded": number | null,"n_included": number | null,"n_waiting": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"team_id": number | null,"team_name": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"response_times_by_stop": {
                  Row: {
                    "account_id": number,"asked": number | null,"closed_unreplied": number | null,"day": string | null,"frt_any_business_p50": number | null,"frt_any_business_p75": number | null,"frt_any_business_p90": number | null,"frt_any_business_p95": number | null,"frt_any_mean": number | null,"frt_any_n": number | null,"frt_any_p50": number | null,"frt_any_p75": number | null,"frt_any_p90": number | null,"frt_any_p95": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_customer_business_p50": number | null,"frt_customer_business_p75": number | null,"frt_customer_business_p90": number | null,"frt_customer_business_p95": number | null,"frt_customer_mean": number | null,"frt_customer_n": number | null,"frt_customer_p50": number | null,"frt_customer_p75": number | null,"frt_customer_p90": number | null,"frt_customer_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_wait": number | null,"n_excluded": number | null,"n_included": number | null,"n_waiting": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"team_id": number | null,"team_name": string | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_attainment": {
                  Row: {
                    "account_id": number | null,"agent_id": number | null,"attainment": number | null,"clock": string,"conversation_attainment": number | null,"conversations": number | null,"conversations_met": number | null,"day": string | null,"inbox_id": number | null,"inbox_name": string | null,"n_breached": number | null,"n_closed_unanswered": number | null,"n_excluded": number | null,"n_included": number | null,"n_met": number | null,"policy_id": number,"policy_name": string | null,"priority": string | null,"team_id": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_breaches": {
                  Row: {
                    "account_id": number,"agent_id": number | null,"breach_at": string | null,"clock": string,"display_id": number,"due_at": string | null,"elapsed": number | null,"episode": number,"excluded_as": string | null,"found_at": string | null,"held_by": string | null,"inbox_id": number | null,"inbox_name": string | null,"instance": number,"overrun": number | null,"parked_while_waiting": number | null,"policy_id": number,"policy_name": string | null,"priority": string | null,"started_at": string,"stopped_as": string | null,"stopped_at": string | null,"target_seconds": number,"team_id": number | null,"version": number
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_clocks": {
                  Row: {
                    "account_id": number,"agent_id": number | null,"applied_at": string,"breach_at": string | null,"calendar_id": number | null,"clock": string,"closed_unanswered": boolean | null,"consumed": number | null,"decided_at": string | null,"display_id": number,"due_at": string | null,"elapsed": number | null,"episode": number,"excluded_as": string | null,"inbox_id": number | null,"inbox_name": string | null,"instance": number,"outcome": string | null,"overrun": number | null,"policy_id": number,"policy_name": string | null,"priority": string | null,"settled_at": string | null,"started_at": string,"state": string,"stopped_as": string | null,"stopped_at": string | null,"target_seconds": number,"team_id": number | null,"version": number
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_conversations": {
                  Row: {
                    "account_id": number,"decided_at": string | null,"display_id": number,"episode": number,"inbox_id": number | null,"met": boolean | null,"n_breached": number | null,"n_met": number | null,"team_id": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"spans": {
                  Row: {
                    "account_id": number,"actor_id": number | null,"closed_as": string | null,"closed_by": number | null,"display_id": number,"ended_at": string | null,"episode": number,"is_running": boolean | null,"kind": string,"number": number,"opened_by": number | null,"seconds": number | null,"seconds_business": number | null,"started_at": string,"value": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"teams": {
                  Row: {
                    "account_id": number | null,"asked": number | null,"closed_unreplied": number | null,"durable": number | null,"durable_known": number | null,"durable_rate": number | null,"durable_rate_high": number | null,"durable_rate_low": number | null,"frt_business_p50": number | null,"frt_business_p75": number | null,"frt_business_p90": number | null,"frt_business_p95": number | null,"frt_mean": number | null,"frt_n": number | null,"frt_p50": number | null,"frt_p75": number | null,"frt_p90": number | null,"frt_p95": number | null,"longest_wait": number | null,"month": string | null,"n_excluded": number | null,"n_included": number | null,"n_resolved": number | null,"n_unresolved": number | null,"n_waiting": number | null,"reopened": number | null,"replied": number | null,"reply_time_business_p50": number | null,"reply_time_business_p75": number | null,"reply_time_business_p90": number | null,"reply_time_business_p95": number | null,"reply_time_mean": number | null,"reply_time_n": number | null,"reply_time_p50": number | null,"reply_time_p75": number | null,"reply_time_p90": number | null,"reply_time_p95": number | null,"response_rate": number | null,"team_id": number | null,"team_name": string | null,"time_zone": string | null,"ttr_full_business_p50": number | null,"ttr_full_business_p75": number | null,"ttr_full_business_p90": number | null,"ttr_full_business_p95": number | null,"ttr_full_mean": number | null,"ttr_full_n": number | null,"ttr_full_p50": number | null,"ttr_full_p75": number | null,"ttr_full_p90": number | null,"ttr_full_p95": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"time_zones": {
                  Row: {
                    "account_id": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"volume_by_day": {
                  Row: {
                    "account_id": number | null,"automatic_messages": number | null,"conversations": number | null,"day": string | null,"incoming_messages": number | null,"n_excluded": number | null,"n_included": number | null,"outgoing_messages": number | null,"private_notes": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"volume_by_hour": {
                  Row: {
                    "account_id": number | null,"day": string | null,"episodes_created": number | null,"hour": number | null,"hours": number | null,"n_excluded": number | null,"n_included": number | null,"time_zone": string | null,"weekday": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"wait_credits": {
                  Row: {
                    "account_id": number,"closed_as": string | null,"display_id": number,"ended_at": string | null,"episode": number,"holder": string | null,"is_excluded": boolean | null,"is_running": boolean | null,"number": number,"seconds": number | null,"share": number | null,"started_at": string,"team_id": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                }
          }
          Functions: {
            "kaplan_meier_median":
{ Args: { "is_over": (boolean)[],"seconds": (number)[] }; Returns: number
                           },
"metrics_by":
{ Args: { "account_id": number,"by"?: string,"since": string,"until": string }; Returns: {
              "asked": number,"closed_unreplied": number,"durable": number,"durable_known": number,"durable_rate": number,"durable_rate_high": number,"durable_rate_low": number,"frt_business_p50": number,"frt_business_p75": number,"frt_business_p90": number,"frt_business_p95": number,"frt_customer_business_p50": number,"frt_customer_business_p75": number,"frt_customer_business_p90": number,"frt_customer_business_p95": number,"frt_customer_mean": number,"frt_customer_n": number,"frt_customer_p50": number,"frt_customer_p75": number,"frt_customer_p90": number,"frt_customer_p95": number,"frt_mean": number,"frt_n": number,"frt_p50": number,"frt_p75": number,"frt_p90": number,"frt_p95": number,"group_key": string,"longest_wait": number,"n_excluded": number,"n_included": number,"n_resolved": number,"n_unresolved": number,"n_waiting": number,"reopened": number,"replied": number,"reply_time_business_p50": number,"reply_time_business_p75": number,"reply_time_business_p90": number,"reply_time_business_p95": number,"reply_time_mean": number,"reply_time_n": number,"reply_time_p50": number,"reply_time_p75": number,"reply_time_p90": number,"reply_time_p95": number,"response_rate": number,"ttr_first_business_p50": number,"ttr_first_business_p75": number,"ttr_first_business_p90": number,"ttr_first_business_p95": number,"ttr_first_mean": number,"ttr_first_n": number,"ttr_first_p50": number,"ttr_first_p75": number,"ttr_first_p90": number,"ttr_first_p95": number,"ttr_full_business_p50": number,"ttr_full_business_p75": number,"ttr_full_business_p90": number,"ttr_full_business_p95": number,"ttr_full_mean": number,"ttr_full_n": number,"ttr_full_p50": number,"ttr_full_p75": number,"ttr_full_p90": number,"ttr_full_p95": number
            }[]
                           },
"wilson_lower":
{ Args: { "successes": number,"trials": number }; Returns: number
                           },
"wilson_upper":
{ Args: { "successes": number,"trials": number }; Returns: number
                           }
          }
          Enums: {
            [_ in never]: never
          }
          CompositeTypes: {
            [_ in never]: never
          }
        },"api": {
          Tables: {
            [_ in never]: never
          }
          Views: {
            "actions": {
                  Row: {
                    "account_id": number,"action_id": number,"arguments": NonNullable<Json>,"attempts": number,"created_at": string,"created_by": string,"display_id": number,"doubt_since": string | null,"first_attempted_at": string | null,"hint": string | null,"kind": string,"last_attempted_at": string | null,"last_status": number | null,"message_id": number | null,"next_attempt_at": string | null,"problem": string | null,"request": Json | null,"settled_at": string | null,"source": string | null,"state": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"action_id"?: number | null,"arguments"?: Json | null,"attempts"?: number | null,"created_at"?: string | null,"created_by"?: string | null,"display_id"?: number | null,"doubt_since"?: string | null,"first_attempted_at"?: string | null,"hint"?: string | null,"kind"?: string | null,"last_attempted_at"?: string | null,"last_status"?: number | null,"message_id"?: number | null,"next_attempt_at"?: never,"problem"?: string | null,"request"?: Json | null,"settled_at"?: string | null,"source"?: string | null,"state"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"action_id"?: number | null,"arguments"?: Json | null,"attempts"?: number | null,"created_at"?: string | null,"created_by"?: string | null,"display_id"?: number | null,"doubt_since"?: string | null,"first_attempted_at"?: string | null,"hint"?: string | null,"kind"?: string | null,"last_attempted_at"?: string | null,"last_status"?: number | null,"message_id"?: number | null,"next_attempt_at"?: never,"problem"?: string | null,"request"?: Json | null,"settled_at"?: string | null,"source"?: string | null,"state"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"alert_rules": {
                  Row: {
                    "account_id": number,"changed_at": string | null,"changed_by": string | null,"channels": (string)[] | null,"check_name": string,"clear_seconds": number,"clear_threshold": number,"description": string,"for_seconds": number,"is_default": boolean | null,"is_enabled": boolean,"kind": string,"quiet_end_minute": number | null,"quiet_start_minute": number | null,"severity": "info"|"warning"|"critical","threshold": number,"title": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"alerts": {
                  Row: {
                    "account_id": number,"acknowledged_at": string | null,"acknowledged_by": string | null,"alert_id": number,"hint": string | null,"kind": string,"last_raised_at": string,"message": string,"raised_at": string,"resolved_at": string | null,"severity": "info"|"warning"|"critical","snoozed_by": string | null,"snoozed_until": string | null,"subject": string,"times": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"acknowledged_at"?: string | null,"acknowledged_by"?: string | null,"alert_id"?: number | null,"hint"?: string | null,"kind"?: string | null,"last_raised_at"?: string | null,"message"?: string | null,"raised_at"?: string | null,"resolved_at"?: string | null,"severity"?: "info"|"warning"|"critical" | null,"snoozed_by"?: string | null,"snoozed_until"?: string | null,"subject"?: string | null,"times"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"acknowledged_at"?: string | null,"acknowledged_by"?: string | null,"alert_id"?: number | null,"hint"?: string | null,"kind"?: string | null,"last_raised_at"?: string | null,"message"?: string | null,"raised_at"?: string | null,"resolved_at"?: string | null,"severity"?: "info"|"warning"|"critical" | null,"snoozed_by"?: string | null,"snoozed_until"?: string | null,"subject"?: string | null,"times"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"approval_queue": {
                  Row: {
                    "account_id": number,"category": string | null,"claimed_by": string | null,"claimed_until": string | null,"confidence": number | null,"created_at": string,"customer": string | null,"customer_message_at": string,"customer_words": string | null,"display_id": number,"draft": string | null,"draft_id": number,"gold_reply_id": number | null,"gold_reply_title": string | null,"inbox": string | null,"language": string | null,"maker": string,"missing": (string)[],"news": Json | null,"sla_breached": boolean | null,"sla_clock": string | null,"sla_due_at": string | null,"waiting_seconds": number | null,"waiting_since": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"approvals_history": {
                  Row: {
                    "account_id": number,"action_id": number | null,"action_settled_at": string | null,"action_state": string | null,"customer_message_id": number,"decided_at": string | null,"decided_by": string | null,"decision": string | null,"display_id": number,"draft": string | null,"draft_id": number,"edit_ratio": number | null,"final_text": string | null,"gold_reply_id": number | null,"gold_reply_title": string | null,"grades": Json | null,"hint": string | null,"is_override": boolean | null,"outcome": string | null,"problem": string | null,"reason": string | null,"reply_message_id": number | null,"seconds_to_decide": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"calendars": {
                  Row: {
                    "account_id": number,"calendar_id": number,"changed_at": string,"changed_by": string,"exceptions": NonNullable<Json>,"inbox_id": number | null,"name": string,"revision": number,"time_zone": string,"used_by": Json | null,"valid_from": string | null,"valid_until": string | null,"weekly": NonNullable<Json>
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"canned_imports": {
                  Row: {
                    "account_id": number,"attempts": number,"hint": string | null,"next_attempt_at": string | null,"problem": string | null,"requested_at": string,"requested_by": string,"result": Json | null,"settled_at": string | null,"state": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"attempts"?: number | null,"hint"?: string | null,"next_attempt_at"?: never,"problem"?: string | null,"requested_at"?: string | null,"requested_by"?: string | null,"result"?: Json | null,"settled_at"?: string | null,"state"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"attempts"?: number | null,"hint"?: string | null,"next_attempt_at"?: never,"problem"?: string | null,"requested_at"?: string | null,"requested_by"?: string | null,"result"?: Json | null,"settled_at"?: string | null,"state"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"decision_log": {
                  Row: {
                    "account_id": number,"action": string,"actor": string,"actor_version": string | null,"decided_at": string,"entry": number,"evidence": NonNullable<Json>,"hash": string | null,"outcome": string,"previous_hash": string | null,"subject": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"action"?: string | null,"actor"?: string | null,"actor_version"?: string | null,"decided_at"?: string | null,"entry"?: number | null,"evidence"?: Json | null,"hash"?: never,"outcome"?: string | null,"previous_hash"?: never,"subject"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"action"?: string | null,"actor"?: string | null,"actor_version"?: string | null,"decided_at"?: string | null,"entry"?: number | null,"evidence"?: Json | null,"hash"?: never,"outcome"?: string | null,"previous_hash"?: never,"subject"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"deliveries": {
                  Row: {
                    "account_id": number,"conflicts": number,"delivery_id": string,"event": string | null,"last_repeated_at": string | null,"note": string | null,"outcome": string,"proof": string,"purged_at": string | null,"reason": string | null,"received_at": string,"redeliveries": number,"replayed_at": string | null,"signed_at": string | null
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"conflicts"?: number | null,"delivery_id"?: string | null,"event"?: string | null,"last_repeated_at"?: string | null,"note"?: string | null,"outcome"?: string | null,"proof"?: string | null,"purged_at"?: string | null,"reason"?: string | null,"received_at"?: string | null,"redeliveries"?: number | null,"replayed_at"?: string | null,"signed_at"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"conflicts"?: number | null,"delivery_id"?: string | null,"event"?: string | null,"last_repeated_at"?: string | null,"note"?: string | null,"outcome"?: string | null,"proof"?: string | null,"purged_at"?: string | null,"reason"?: string | null,"received_at"?: string | null,"redeliveries"?: number | null,"replayed_at"?: string | null,"signed_at"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"drafts": {
                  Row: {
                    "account_id": number,"action_id": number | null,"body": string | null,"category": string | null,"closed_at": string | null,"confidence": number | null,"created_at": string,"customer_message_at": string,"customer_message_id": number,"decided_at": string | null,"decided_by": string | null,"display_id": number,"draft_id": number,"draft_length": number | null,"edit_distance": number | null,"edit_method": string | null,"edit_ratio": number | null,"episode": number,"evidence": Json | null,"final_text": string | null,"gold_reply_id": number | null,"gold_reply_version": number | null,"grades": Json | null,"is_final": boolean,"is_override": boolean | null,"language": string | null,"maker": string,"maker_version": string,"missing": (string)[] | null,"outcome": string | null,"outcome_at": string | null,"reason": string | null,"replied_at": string | null,"reply_agent_id": number | null,"reply_message_id": number | null,"sent_length": number | null,"shown_at": string | null,"shown_by": string | null,"state": string,"waiting_since": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"action_id"?: number | null,"body"?: never,"category"?: string | null,"closed_at"?: string | null,"confidence"?: never,"created_at"?: string | null,"customer_message_at"?: string | null,"customer_message_id"?: number | null,"decided_at"?: string | null,"decided_by"?: string | null,"display_id"?: number | null,"draft_id"?: number | null,"draft_length"?: number | null,"edit_distance"?: number | null,"edit_method"?: string | null,"edit_ratio"?: number | null,"episode"?: number | null,"evidence"?: never,"final_text"?: string | null,"gold_reply_id"?: never,"gold_reply_version"?: never,"grades"?: Json | null,"is_final"?: boolean | null,"is_override"?: boolean | null,"language"?: string | null,"maker"?: string | null,"maker_version"?: string | null,"missing"?: never,"outcome"?: string | null,"outcome_at"?: string | null,"reason"?: string | null,"replied_at"?: string | null,"reply_agent_id"?: number | null,"reply_message_id"?: number | null,"sent_length"?: number | null,"shown_at"?: string | null,"shown_by"?: string | null,"state"?: string | null,"waiting_since"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"action_id"?: number | null,"body"?: never,"category"?: string | null,"closed_at"?: string | null,"confidence"?: never,"created_at"?: string | null,"customer_message_at"?: string | null,"customer_message_id"?: number | null,"decided_at"?: string | null,"decided_by"?: string | null,"display_id"?: number | null,"draft_id"?: number | null,"draft_length"?: number | null,"edit_distance"?: number | null,"edit_method"?: string | null,"edit_ratio"?: number | null,"episode"?: number | null,"evidence"?: never,"final_text"?: string | null,"gold_reply_id"?: never,"gold_reply_version"?: never,"grades"?: Json | null,"is_final"?: boolean | null,"is_override"?: boolean | null,"language"?: string | null,"maker"?: string | null,"maker_version"?: string | null,"missing"?: never,"outcome"?: string | null,"outcome_at"?: string | null,"reason"?: string | null,"replied_at"?: string | null,"reply_agent_id"?: number | null,"reply_message_id"?: number | null,"sent_length"?: number | null,"shown_at"?: string | null,"shown_by"?: string | null,"state"?: string | null,"waiting_since"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"erasures": {
                  Row: {
                    "account_id": number,"deleted": NonNullable<Json>,"erased_at": string,"erased_by": string,"erasure_id": number,"kind": string,"sha256": string | null,"subject_id": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"deleted"?: Json | null,"erased_at"?: string | null,"erased_by"?: string | null,"erasure_id"?: number | null,"kind"?: string | null,"sha256"?: never,"subject_id"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"deleted"?: Json | null,"erased_at"?: string | null,"erased_by"?: string | null,"erasure_id"?: number | null,"kind"?: string | null,"sha256"?: never,"subject_id"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"gold_replies": {
                  Row: {
                    "account_id": number,"body": string,"category": string | null,"channels": NonNullable<Json>,"decided_at": string | null,"decided_by": string | null,"edited": number,"findings": NonNullable<Json>,"gold_reply_id": number,"language": string | null,"origin": string,"proposed_at": string,"proposed_by": string,"questions": (string)[],"reopened": number,"shown": number,"source_author": string | null,"source_display_id": number | null,"source_message_id": number | null,"status": string,"tags": (string)[],"title": string,"used": number,"version": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"body"?: string | null,"category"?: string | null,"channels"?: Json | null,"decided_at"?: string | null,"decided_by"?: string | null,"edited"?: number | null,"findings"?: Json | null,"gold_reply_id"?: number | null,"language"?: string | null,"origin"?: string | null,"proposed_at"?: string | null,"proposed_by"?: string | null,"questions"?: (string)[] | null,"reopened"?: number | null,"shown"?: number | null,"source_author"?: string | null,"source_display_id"?: number | null,"source_message_id"?: number | null,"status"?: string | null,"tags"?: (string)[] | null,"title"?: string | null,"used"?: number | null,"version"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"body"?: string | null,"category"?: string | null,"channels"?: Json | null,"decided_at"?: string | null,"decided_by"?: string | null,"edited"?: number | null,"findings"?: Json | null,"gold_reply_id"?: number | null,"language"?: string | null,"origin"?: string | null,"proposed_at"?: string | null,"proposed_by"?: string | null,"questions"?: (string)[] | null,"reopened"?: number | null,"shown"?: number | null,"source_author"?: string | null,"source_display_id"?: number | null,"source_message_id"?: number | null,"status"?: string | null,"tags"?: (string)[] | null,"title"?: string | null,"used"?: number | null,"version"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"gold_reply_versions": {
                  Row: {
                    "account_id": number,"body": string,"category": string | null,"changed_at": string,"changed_by": string,"channels": NonNullable<Json>,"findings": NonNullable<Json>,"gold_reply_id": number,"language": string | null,"questions": (string)[],"tags": (string)[],"title": string,"version": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"body"?: string | null,"category"?: string | null,"changed_at"?: string | null,"changed_by"?: string | null,"channels"?: Json | null,"findings"?: Json | null,"gold_reply_id"?: number | null,"language"?: string | null,"questions"?: (string)[] | null,"tags"?: (string)[] | null,"title"?: string | null,"version"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"body"?: string | null,"category"?: string | null,"changed_at"?: string | null,"changed_by"?: string | null,"channels"?: Json | null,"findings"?: Json | null,"gold_reply_id"?: number | null,"language"?: string | null,"questions"?: (string)[] | null,"tags"?: (string)[] | null,"title"?: string | null,"version"?: number | null
                         }
                        Relationships: [
                    {
      foreignKeyName: "gold_reply_versions_gold_reply_fkey"
      columns: ["account_id","gold_reply_id"]
isOneToOne: false
      referencedRelation: "gold_replies"
      referencedColumns: ["account_id","gold_reply_id"]
    }
                  ]
                },"health_checks": {
                  Row: {
                    "account_id": number | null,"checked_at": string,"hint": string | null,"message": string,"name": string,"since": string,"state": string,"subject": string | null,"unit": string | null,"value": number | null
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: never,"checked_at"?: string | null,"hint"?: string | null,"message"?: string | null,"name"?: string | null,"since"?: string | null,"state"?: string | null,"subject"?: never,"unit"?: string | null,"value"?: number | null
                         }
                        Update: {
                           "account_id"?: never,"checked_at"?: string | null,"hint"?: string | null,"message"?: string | null,"name"?: string | null,"since"?: string | null,"state"?: string | null,"subject"?: never,"unit"?: string | null,"value"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"job_runs": {
                  Row: {
                    "ended_at": string | null,"job": string,"message": string | null,"run_id": number,"seconds": number | null,"started_at": string | null,"state": string
                  }
                  ComputedFields: never
                  Insert: {
                           "ended_at"?: string | null,"job"?: string | null,"message"?: string | null,"run_id"?: number | null,"seconds"?: number | null,"started_at"?: string | null,"state"?: string | null
                         }
                        Update: {
                           "ended_at"?: string | null,"job"?: string | null,"message"?: string | null,"run_id"?: number | null,"seconds"?: number | null,"started_at"?: string | null,"state"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"ledger_status": {
                  Row: {
                    "account_id": number | null,"first_problem": string | null,"first_problem_display_id": number | null,"lag_seconds": number | null,"oldest_queued_at": string | null,"problems": number | null,"queued_conversations": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"members": {
                  Row: {
                    "account_id": number,"created_at": string,"role": "viewer"|"operator"|"approver"|"admin","user_id": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"created_at"?: string | null,"role"?: "viewer"|"operator"|"approver"|"admin" | null,"user_id"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"created_at"?: string | null,"role"?: "viewer"|"operator"|"approver"|"admin" | null,"user_id"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"metric_definitions": {
                  Row: {
                    "conversation_rule": string | null,"description": string,"example": string,"metric": string,"null_rule": string,"unit": string,"version": number
                  }
                  ComputedFields: never
                  Insert: {
                           "conversation_rule"?: string | null,"description"?: string | null,"example"?: string | null,"metric"?: string | null,"null_rule"?: string | null,"unit"?: string | null,"version"?: number | null
                         }
                        Update: {
                           "conversation_rule"?: string | null,"description"?: string | null,"example"?: string | null,"metric"?: string | null,"null_rule"?: string | null,"unit"?: string | null,"version"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"notification_deliveries": {
                  Row: {
                    "account_id": number,"attempts": number,"created_at": string,"delivery_id": number,"endpoint_id": number,"last_status": number | null,"message_id": string | null,"next_attempt_at": string,"notification_id": number,"problem": string | null,"round": number,"settled_at": string | null,"state": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"attempts"?: number | null,"created_at"?: string | null,"delivery_id"?: number | null,"endpoint_id"?: number | null,"last_status"?: number | null,"message_id"?: string | null,"next_attempt_at"?: string | null,"notification_id"?: number | null,"problem"?: string | null,"round"?: number | null,"settled_at"?: string | null,"state"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"attempts"?: number | null,"created_at"?: string | null,"delivery_id"?: number | null,"endpoint_id"?: number | null,"last_status"?: number | null,"message_id"?: string | null,"next_attempt_at"?: string | null,"notification_id"?: number | null,"problem"?: string | null,"round"?: number | null,"settled_at"?: string | null,"state"?: string | null
                         }
                        Relationships: [
                    {
      foreignKeyName: "notification_deliveries_endpoint_fkey"
      columns: ["account_id","endpoint_id"]
isOneToOne: false
      referencedRelation: "notification_endpoints"
      referencedColumns: ["account_id","endpoint_id"]
    }
                  ]
                },"notification_endpoints": {
                  Row: {
                    "account_id": number,"created_at": string,"critical_at_once": boolean,"digest_minutes": number,"endpoint_id": number,"escalate_after_seconds": number | null,"escalate_times": number | null,"failures": number,"format": string,"hint": string | null,"is_escalation": boolean | null,"kinds": (string)[] | null,"last_success_at": string | null,"minimum_severity": "info"|"warning"|"critical","name": string,"origin": string,"pending": number | null,"problem": string | null,"problem_at": string | null,"quiet_end_minute": number | null,"quiet_start_minute": number | null,"retry_at": string | null,"state": string,"time_zone": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"created_at"?: string | null,"critical_at_once"?: boolean | null,"digest_minutes"?: number | null,"endpoint_id"?: number | null,"escalate_after_seconds"?: number | null,"escalate_times"?: number | null,"failures"?: number | null,"format"?: string | null,"hint"?: string | null,"is_escalation"?: never,"kinds"?: (string)[] | null,"last_success_at"?: string | null,"minimum_severity"?: "info"|"warning"|"critical" | null,"name"?: string | null,"origin"?: string | null,"pending"?: never,"problem"?: string | null,"problem_at"?: string | null,"quiet_end_minute"?: number | null,"quiet_start_minute"?: number | null,"retry_at"?: string | null,"state"?: string | null,"time_zone"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"created_at"?: string | null,"critical_at_once"?: boolean | null,"digest_minutes"?: number | null,"endpoint_id"?: number | null,"escalate_after_seconds"?: number | null,"escalate_times"?: number | null,"failures"?: number | null,"format"?: string | null,"hint"?: string | null,"is_escalation"?: never,"kinds"?: (string)[] | null,"last_success_at"?: string | null,"minimum_severity"?: "info"|"warning"|"critical" | null,"name"?: string | null,"origin"?: string | null,"pending"?: never,"problem"?: string | null,"problem_at"?: string | null,"quiet_end_minute"?: number | null,"quiet_start_minute"?: number | null,"retry_at"?: string | null,"state"?: string | null,"time_zone"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"notifications": {
                  Row: {
                    "account_id": number,"acknowledged_at": string | null,"acknowledged_by": string | null,"body": NonNullable<Json>,"created_at": string,"dedupe_key": string,"kind": string,"next_escalation_at": string | null,"notification_id": number,"severity": "info"|"warning"|"critical","state": string,"title": string
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"acknowledged_at"?: string | null,"acknowledged_by"?: string | null,"body"?: Json | null,"created_at"?: string | null,"dedupe_key"?: string | null,"kind"?: string | null,"next_escalation_at"?: string | null,"notification_id"?: number | null,"severity"?: "info"|"warning"|"critical" | null,"state"?: string | null,"title"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"acknowledged_at"?: string | null,"acknowledged_by"?: string | null,"body"?: Json | null,"created_at"?: string | null,"dedupe_key"?: string | null,"kind"?: string | null,"next_escalation_at"?: string | null,"notification_id"?: number | null,"severity"?: "info"|"warning"|"critical" | null,"state"?: string | null,"title"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"reply_variables": {
                  Row: {
                    "description": string,"example": string,"name": string,"type": string
                  }
                  ComputedFields: never
                  Insert: {
                           "description"?: string | null,"example"?: string | null,"name"?: string | null,"type"?: string | null
                         }
                        Update: {
                           "description"?: string | null,"example"?: string | null,"name"?: string | null,"type"?: string | null
                         }
                        Relationships: [
                    
                  ]
                },"sending_status": {
                  Row: {
                    "account_id": number,"agent_id": number | null,"failures": number,"hint": string | null,"in_doubt": number | null,"oldest_at": string | null,"pending": number | null,"problem": string | null,"problem_at": string | null,"retry_at": string | null,"sending": string | null,"state": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"settings": {
                  Row: {
                    "account_id": number,"changed_at": string | null,"changed_by": string | null,"description": string,"is_default": boolean | null,"name": string,"value": Json | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_board": {
                  Row: {
                    "account_id": number,"as_of": string | null,"breached_open": number | null,"due_in_15_minutes": number | null,"next_due_at": string | null,"paused": number | null,"running": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sla_policies": {
                  Row: {
                    "account_id": number,"changed_at": string,"changed_by": string,"conditions": NonNullable<Json>,"name": string,"place": number,"policy_id": number,"targets": NonNullable<Json>,"valid_from": string | null,"valid_until": string | null,"version": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"changed_at"?: string | null,"changed_by"?: string | null,"conditions"?: Json | null,"name"?: string | null,"place"?: number | null,"policy_id"?: number | null,"targets"?: Json | null,"valid_from"?: never,"valid_until"?: string | null,"version"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"changed_at"?: string | null,"changed_by"?: string | null,"conditions"?: Json | null,"name"?: string | null,"place"?: number | null,"policy_id"?: number | null,"targets"?: Json | null,"valid_from"?: never,"valid_until"?: string | null,"version"?: number | null
                         }
                        Relationships: [
                    
                  ]
                },"sync_differences": {
                  Row: {
                    "account_id": number,"day": string,"door": string,"entity": string,"fields": (string)[] | null,"id": number,"is_healed": boolean,"kind": string,"requested_at": string,"verification_id": number
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"sync_status": {
                  Row: {
                    "account_id": number,"backfill_done": number,"backfill_expected_at": string | null,"backfill_finished_at": string | null,"backfill_share": number | null,"backfill_started_at": string | null,"backfill_total": number | null,"door": string,"drift": Json | null,"failures": number,"hint": string | null,"lag_seconds": number | null,"last_attempt_at": string | null,"last_success_at": string | null,"problem": string | null,"problem_at": string | null,"refusals": NonNullable<Json>,"requests": number,"retry_at": string | null,"rows_changed": number,"rows_read": number,"source": string | null,"state": string
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                }
          }
          Functions: {
            "acknowledge_alert":
{ Args: { "account_id": number,"alert_id": number }; Returns: boolean
                           },
"acknowledge_notification":
{ Args: { "account_id": number,"notification_id": number }; Returns: boolean
                           },
"add_default_sla_policy":
{ Args: { "account_id": number,"valid_from"?: string }; Returns: number
                           },
"add_notification_endpoint":
{ Args: { "account_id": number,"critical_at_once"?: boolean,"digest_minutes"?: number,"escalate_after_seconds"?: number,"escalate_times"?: number,"format": string,"kinds"?: (string)[],"minimum_severity"?: "info"|"warning"|"critical","name": string,"quiet_end_minute"?: number,"quiet_start_minute"?: number,"time_zone"?: string,"url": string }; Returns: {
              "endpoint_id": number,"signing_secret": string
            }[]
                           },
"approve_draft":
{ Args: { "account_id": number,"draft_id": number,"final_text"?: string,"grades"?: Json,"override"?: boolean }; Returns: number
                           },
"approve_gold_reply":
{ Args: { "account_id": number,"confirm_personal_data"?: boolean,"gold_reply_id": number,"version"?: number }; Returns: undefined
                           },
"cancel_action":
{ Args: { "account_id": number,"action_id": number }; Returns: boolean
                           },
"claim_draft":
{ Args: { "account_id": number,"draft_id": number }; Returns: string
                           },
"connect_foreign":
{ Args: { "account_id": number,"secret_name"?: string }; Returns: string
                           },
"conversation_history":
{ Args: { "account_id": number,"after"?: string,"display_id": number,"most"?: number }; Returns: {
              "actor": string,"at": string,"details": Json,"kind": string,"place": string,"source": string,"summary": string
            }[]
                           },
"delete_calendar":
{ Args: { "account_id": number,"calendar_id": number }; Returns: undefined
                           },
"disconnect_foreign":
{ Args: { "account_id": number }; Returns: boolean
                           },
"enqueue_action":
{ Args: { "account_id": number,"arguments": Json,"display_id": number,"kind": string }; Returns: number
                           },
"episodes_at":
{ Args: { "account_id": number,"as_of": string,"display_ids"?: (number)[],"learnt_by"?: string }; Returns: Database["analytics"]['Views']["episodes"]['Row'][]
                          SetofOptions: {
        from: "*"
        to: "episodes"
        isOneToOne: false
        isSetofReturn: true
      } },
"erase_account":
{ Args: { "account_id": number,"confirmation": string }; Returns: Json
                           },
"erase_contact":
{ Args: { "account_id": number,"contact_id": number,"dry_run"?: boolean }; Returns: Json
                           },
"explain_metric":
{ Args: { "account_id": number,"as_of"?: string,"display_id": number,"learnt_by"?: string,"metric": string }; Returns: {
              "calendar_seconds_clipped": number,"closed_by": Json,"counted": boolean,"counted_in_conversation": boolean,"ended_at": string,"episode": number,"opened_by": Json,"part": number,"rule": string,"seconds": number,"seconds_business": number,"sign": number,"started_at": string,"version": number,"what": string,"why": string
            }[]
                           },
"explain_sla":
{ Args: { "account_id": number,"as_of"?: string,"display_id": number }; Returns: {
              "applied_at": string,"applied_until": string,"calendar_id": number,"clock": string,"closed_by": number,"counted": boolean,"due_at": string,"ended_at": string,"episode": number,"instance": number,"opened_by": number,"part": number,"policy_id": number,"policy_name": string,"seconds": number,"started_at": string,"state": string,"target_seconds": number,"version": number,"why": string
            }[]
                           },
"import_canned_responses":
{ Args: { "account_id": number,"responses"?: Json }; Returns: Json
                           },
"merge_conversations":
{ Args: { "account_id": number,"child": number,"parent": number }; Returns: undefined
                           },
"missing_indexes":
{ Args: { "account_id": number }; Returns: {
              "relation": string,"statement": string
            }[]
                           },
"open_relations":
{ Args: { "source_schema"?: string }; Returns: {
              "kind": string,"name": string,"privileges": string,"remedy": string,"role": string
            }[]
                           },
"pause_sync":
{ Args: { "account_id": number,"door": string }; Returns: undefined
                           },
"promote_to_gold":
{ Args: { "account_id": number,"category"?: string,"draft_id"?: number,"language"?: string,"message_id"?: number,"tags"?: (string)[],"title"?: string }; Returns: {
              "gold_reply_id": number,"is_new": boolean
            }[]
                           },
"propose_draft":
{ Args: { "account_id": number,"body": string,"confidence": number,"display_id": number,"evidence"?: Json,"maker": string,"maker_version": string,"message_id": number }; Returns: number
                           },
"propose_gold_reply":
{ Args: { "account_id": number,"gold_reply": Json }; Returns: {
              "gold_reply_id": number,"is_new": boolean
            }[]
                           },
"public_status":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"record_gold_reply":
{ Args: { "account_id": number,"gold_reply": Json,"idempotency_key"?: string }; Returns: {
              "findings": Json,"gold_reply_id": number,"is_new": boolean,"status": string
            }[]
                           },
"record_webhook":
{ Args: { "account_id": number,"body": string,"delivery_id": string,"headers": Json,"proof": string,"signed_at": string }; Returns: {
              "outcome": string
            }[]
                           },
"reject_draft":
{ Args: { "account_id": number,"draft_id": number,"reason": string }; Returns: undefined
                           },
"release_draft":
{ Args: { "account_id": number,"draft_id": number }; Returns: boolean
                           },
"remove_notification_endpoint":
{ Args: { "account_id": number,"endpoint_id": number }; Returns: undefined
                           },
"replay_deliveries":
{ Args: { "account_id": number,"outcomes"?: (string)[],"since"?: string,"until"?: string }; Returns: {
              "deliveries": number,"outcome": string
            }[]
                           },
"resume_sending":
{ Args: { "account_id": number }; Returns: boolean
                           },
"resume_sync":
{ Args: { "account_id": number,"door": string }; Returns: undefined
                           },
"retire_gold_reply":
{ Args: { "account_id": number,"gold_reply_id": number }; Returns: undefined
                           },
"retire_sla_policy":
{ Args: { "account_id": number,"policy_id": number }; Returns: undefined
                           },
"retry_action":
{ Args: { "account_id": number,"action_id": number,"override"?: boolean }; Returns: undefined
                           },
"save_calendar":
{ Args: { "account_id": number,"calendar_id"?: number,"exceptions"?: Json,"name": string,"time_zone": string,"valid_from"?: string,"weekly": Json }; Returns: number
                           },
"save_gold_reply":
{ Args: { "account_id": number,"confirm_personal_data"?: boolean,"gold_reply": Json,"gold_reply_id"?: number,"version"?: number }; Returns: number
                           },
"save_sla_policy":
{ Args: { "account_id": number,"conditions": Json,"name": string,"place"?: number,"policy_id"?: number,"targets": Json,"valid_from"?: string }; Returns: number
                           },
"set_alert_rule":
{ Args: { "account_id": number,"changes": Json,"kind": string }; Returns: Json
                           },
"set_database_source":
{ Args: { "account_id": number,"source_schema": string }; Returns: string
                           },
"set_inbox_rules":
{ Args: { "account_id": number,"durable_seconds"?: number,"episode_gap_seconds"?: number,"has_bot"?: boolean,"inbox_id": number }; Returns: undefined
                           },
"set_member":
{ Args: { "account_id": number,"role": "viewer"|"operator"|"approver"|"admin","user_id": string }; Returns: undefined
                           },
"set_notification_endpoint_state":
{ Args: { "account_id": number,"endpoint_id": number,"state": string }; Returns: undefined
                           },
"set_rest_source":
{ Args: { "account_id": number,"base_url": string }; Returns: string
                           },
"set_setting":
{ Args: { "account_id": number,"name": string,"value": Json }; Returns: Json
                           },
"set_sync_token":
{ Args: { "account_id": number,"token": string }; Returns: undefined
                           },
"simulate_sla":
{ Args: { "account_id": number,"policies": Json,"since": string,"until": string }; Returns: {
              "breached_after": number,"breached_before": number,"clock": string,"decided_after": number,"decided_before": number,"newly_breached": (number)[],"no_longer_breached": (number)[]
            }[]
                           },
"sla_at_risk":
{ Args: { "account_id": number,"as_of"?: string,"most"?: number }; Returns: {
              "breach_at": string,"breach_probability": number,"class": string,"clock": string,"consumed": number,"display_id": number,"due_at": string,"elapsed": number,"episode": number,"holder": string,"if_resumed_due_at": string,"inbox_id": number,"instance": number,"policy_id": number,"priority": string,"remaining": number,"started_at": string,"target_seconds": number,"team_id": number
            }[]
                           },
"sla_clocks_at":
{ Args: { "account_id": number,"as_of"?: string,"display_ids"?: (number)[] }; Returns: unknown[]
                          SetofOptions: {
        from: "*"
        to: "clocks"
        isOneToOne: false
        isSetofReturn: true
      } },
"snooze_alert":
{ Args: { "account_id": number,"alert_id": number,"until": string }; Returns: boolean
                           },
"test_notification":
{ Args: { "account_id": number,"endpoint_id": number }; Returns: number
                           },
"unmerge_conversation":
{ Args: { "account_id": number,"child": number }; Returns: undefined
                           },
"use_calendar":
{ Args: { "account_id": number,"calendar_id": number,"scope": string,"scope_id": number }; Returns: undefined
                           },
"verify_decision_log":
{ Args: { "account_id"?: number }; Returns: {
              "account_id": number,"entries": number,"first_broken_entry": number,"reason": string
            }[]
                           },
"verify_sync":
{ Args: { "account_id": number,"since": string,"until": string }; Returns: {
              "day": string,"differing": number,"door": string,"entity": string,"finished_at": string,"healed": number,"is_equal": boolean,"mirror_hash": number,"mirror_rows": number,"problem": string,"source_hash": number,"source_rows": number,"state": string,"verification_id": number
            }[]
                           }
          }
          Enums: {
            [_ in never]: never
          }
          CompositeTypes: {
            [_ in never]: never
          }
        }
}

type DatabaseWithoutInternals = Omit<Database, '__InternalSupabase'>

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "analytics">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
  ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R
    }
    ? R
    : never
  : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I
    }
    ? I
    : never
  : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U
    }
    ? U
    : never
  : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
  ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
  ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never

export const Constants = {
  "analytics": {
          Enums: {
            
          }
        },"api": {
          Enums: {
            
          }
        }
} as const
