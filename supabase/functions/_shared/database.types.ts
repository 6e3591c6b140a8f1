│
▲  Connected to 127.0.0.1 without TLS: the TLS connection failed or was rejected. Set PGSSLMODE=require (or verify-full) to refuse unencrypted connections.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  
  "analytics": {
          Tables: {
            [_ in never]: never
          }
          Views: {
            "channel_breakdown": {
                  Row: {
                    "account_id": number,"channel": string | null,"conversations": number | null,"inbox_id": number | null,"inbox_name": string | null,"longest_waiting_since": string | null,"open_conversations": number | null,"pending_conversations": number | null,"resolved_conversations": number | null,"share": number | null,"snoozed_conversations": number | null,"waiting_conversations": number | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"conversations": {
                  Row: {
                    "account_id": number,"additional_attributes": Json | null,"assignee_id": number | null,"assignee_kind": string | null,"assignee_name": string | null,"channel": string | null,"contact_id": number | null,"contact_name": string | null,"conversation_id": number,"created_at": string | null,"custom_attributes": Json | null,"deleted_at": string | null,"first_reply_created_at": string | null,"inbox_id": number | null,"inbox_name": string | null,"labels": (string)[] | null,"last_activity_at": string | null,"priority": string | null,"snoozed_until": string | null,"status": string | null,"team_id": number | null,"team_name": string | null,"updated_at": string | null,"waiting_since": string | null
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
                },"messages": {
                  Row: {
                    "account_id": number,"attachment_count": number | null,"attachments": Json | null,"content": string | null,"content_attributes": Json | null,"content_type": string | null,"conversation_id": number,"created_at": string | null,"csat_feedback": string | null,"csat_rating": number | null,"deleted_at": string | null,"delivery_status": string | null,"inbox_id": number | null,"is_private": boolean | null,"message_id": number,"message_type": string | null,"sender_id": number | null,"sender_kind": string | null,"sender_name": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"volume_by_day": {
                  Row: {
                    "account_id": number | null,"automatic_messages": number | null,"conversations": number | null,"day": string | null,"incoming_messages": number | null,"outgoing_messages": number | null,"private_notes": number | null,"time_zone": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                }
          }
          Functions: {
            [_ in never]: never
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
            "alerts": {
                  Row: {
                    "account_id": number,"alert_id": number,"hint": string | null,"kind": string,"last_raised_at": string,"message": string,"raised_at": string,"resolved_at": string | null,"subject": string,"times": number
                  }
                  ComputedFields: never
                  Insert: {
                           "account_id"?: number | null,"alert_id"?: number | null,"hint"?: string | null,"kind"?: string | null,"last_raised_at"?: string | null,"message"?: string | null,"raised_at"?: string | null,"resolved_at"?: string | null,"subject"?: string | null,"times"?: number | null
                         }
                        Update: {
                           "account_id"?: number | null,"alert_id"?: number | null,"hint"?: string | null,"kind"?: string | null,"last_raised_at"?: string | null,"message"?: string | null,"raised_at"?: string | null,"resolved_at"?: string | null,"subject"?: string | null,"times"?: number | null
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
                },"settings": {
                  Row: {
                    "account_id": number,"changed_at": string | null,"changed_by": string | null,"description": string,"is_default": boolean | null,"name": string,"value": Json | null
                  }
                  ComputedFields: never
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
                  Insert: {
                           "account_id"?: number | null,"backfill_done"?: number | null,"backfill_expected_at"?: never,"backfill_finished_at"?: string | null,"backfill_share"?: never,"backfill_started_at"?: string | null,"backfill_total"?: number | null,"door"?: string | null,"drift"?: never,"failures"?: number | null,"hint"?: string | null,"lag_seconds"?: never,"last_attempt_at"?: string | null,"last_success_at"?: string | null,"problem"?: string | null,"problem_at"?: string | null,"refusals"?: Json | null,"requests"?: number | null,"retry_at"?: string | null,"rows_changed"?: number | null,"rows_read"?: number | null,"source"?: never,"state"?: string | null
                         }
                        Update: {
                           "account_id"?: number | null,"backfill_done"?: number | null,"backfill_expected_at"?: never,"backfill_finished_at"?: string | null,"backfill_share"?: never,"backfill_started_at"?: string | null,"backfill_total"?: number | null,"door"?: string | null,"drift"?: never,"failures"?: number | null,"hint"?: string | null,"lag_seconds"?: never,"last_attempt_at"?: string | null,"last_success_at"?: string | null,"problem"?: string | null,"problem_at"?: string | null,"refusals"?: Json | null,"requests"?: number | null,"retry_at"?: string | null,"rows_changed"?: number | null,"rows_read"?: number | null,"source"?: never,"state"?: string | null
                         }
                        Relationships: [
                    
                  ]
                }
          }
          Functions: {
            "connect_foreign":
{ Args: { "account_id": number,"secret_name"?: string }; Returns: string
                           },
"disconnect_foreign":
{ Args: { "account_id": number }; Returns: boolean
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
"record_webhook":
{ Args: { "account_id": number,"body": string,"delivery_id": string,"headers": Json,"proof": string,"signed_at": string }; Returns: {
              "outcome": string
            }[]
                           },
"replay_deliveries":
{ Args: { "account_id": number,"outcomes"?: (string)[],"since"?: string,"until"?: string }; Returns: {
              "deliveries": number,"outcome": string
            }[]
                           },
"resume_sync":
{ Args: { "account_id": number,"door": string }; Returns: undefined
                           },
"set_database_source":
{ Args: { "account_id": number,"source_schema": string }; Returns: string
                           },
"set_member":
{ Args: { "account_id": number,"role": "viewer"|"operator"|"approver"|"admin","user_id": string }; Returns: undefined
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
